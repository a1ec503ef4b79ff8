"""`fluido gateway doctor`: looks at the engines and at a running gateway."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from ._config import Config
from ._discovery import USUAL, Directory
from ._doctor import Finding, Severity, facts, of_clients, of_engine
from ._page import STATE
from ._words import found

WAIT_S = 3.0
MOST_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was looked at, a line each, and what hurts."""

    looked_at: list[str]
    findings: list[Finding]


async def diagnosis(config: Config, url: str, key: str = "") -> Diagnosis:
    """Look at the engines (as configured, else those that the gateway at `url` has, else the usual ports)."""
    state = state_of(url, key)
    looked_at, findings = [], []
    pid = state.get("pid") if state else None
    if state:
        looked_at.append(f"the gateway at {url}, after {state.get('requests')} requests")
        findings += of_clients(state)
    async with Directory(config.engines) as directory:
        for engine in directory.engines:
            if engine.is_up:
                looked_at += [line.strip() for line in found([engine])]
            ours = [pid] if isinstance(pid, int) else []
            findings += of_engine(await facts(directory, engine, ours=[os.getpid(), *ours]))
    if not looked_at and not findings:
        where = ", ".join(each.url for each in USUAL)
        findings.append(
            Finding(
                Severity.SERIOUS,
                f"Neither a gateway at {url} nor an engine at {where} answers.",
                "Start one, or name an engine with --engine http://HOST:PORT.",
            )
        )
    return Diagnosis(looked_at, findings)


def state_of(url: str, key: str = "") -> Mapping[str, object]:
    """What a running gateway says of itself; empty where none answers, or it wants a key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if not url.startswith(("http://", "https://")):
        url = f"http://{url}"
    try:
        request = urllib.request.Request(url.rstrip("/") + STATE, headers=headers)  # noqa: S310 - http, above
        with urllib.request.urlopen(request, timeout=WAIT_S) as reply:  # noqa: S310
            said = json.loads(reply.read(MOST_BYTES))
    except (OSError, ValueError, urllib.error.URLError):
        return {}
    return said if isinstance(said, dict) and said.get("gateway") == "fluido" else {}
