"""Where a run's servers listen, for other programs of the same account: `addresses.json` of the data folder.

The file holds passwords, so nobody else may read it. It is believed only while the process that wrote it
lives.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

NAME = "addresses.json"
_NAMES = ("database_url", "redis_url", "engine_url", "engine_kind", "sentinel_url")


def note(folder: Path, addresses: Mapping[str, str | None]) -> None:
    """Write, or add to, what this process noted in the data folder `folder`."""
    before = noted(folder)
    place = folder / NAME
    part = place.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.touch(0o600)
    me = {"pid": os.getpid(), "started": psutil.Process().create_time()}
    part.write_text(json.dumps(before | {name: url for name, url in addresses.items() if url} | me))
    part.replace(place)


def noted(folder: Path) -> dict[str, str]:
    """Addresses by name (`database_url`, `redis_url`, `engine_url`, `engine_kind`, `sentinel_url`) of the run
    that holds `folder` now; empty when there is none.
    """
    try:
        said = json.loads((folder / NAME).read_text())
        process = psutil.Process(int(said["pid"]))
        if abs(process.create_time() - float(said["started"])) >= 0.5:
            return {}
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return {}
    return {name: said[name] for name in _NAMES if isinstance(said.get(name), str)}


def forget(folder: Path) -> None:
    """The servers are stopped."""
    with suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)
