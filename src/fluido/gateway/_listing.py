"""Model listings of all engines as one, in the words of either API: /api/tags, /api/ps, /v1/models."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from fluido.gateway._discovery import Engine

# What clients that look at a version need an Ollama to be, where there is none behind us.
OLLAMA_VERSION = "0.20.0"


def tags(
    engines: Iterable[Engine], aliases: Mapping[str, str], *, may_use: Callable[[str], bool]
) -> dict[str, object]:
    """/api/tags: every model once, with the digest that most engines have for it; then the aliases."""
    engines = tuple(engines)
    entries: dict[str, dict[str, Any]] = {}
    for name, engine in _models(engines):
        entries.setdefault(name, _tag(name, engine))
    for alias, model in aliases.items():
        if model in entries and alias not in entries:
            entries[alias] = {**entries[model], "name": alias, "model": alias}
    return {"models": [entry for name, entry in entries.items() if may_use(name)]}


def _models(engines: tuple[Engine, ...]) -> list[tuple[str, Engine]]:
    """Each name with the engine whose model of that name counts: by digest, the majority's."""
    having: dict[str, list[Engine]] = {}
    for engine in engines:
        for name in engine.models:
            having.setdefault(name, []).append(engine)
    found = []
    for name, owners in having.items():
        digests = Counter(engine.models[name] for engine in owners)
        digest = max(digests, key=lambda each: (digests[each], bool(each)))
        found.append((name, next(engine for engine in owners if engine.models[name] == digest)))
    return found


def _tag(name: str, engine: Engine) -> dict[str, Any]:
    model = engine.reading.models[name]
    if engine.api == "ollama" and model.listing:
        return dict(model.listing)
    # What clients read of an entry, for a model that an Ollama does not list.
    return {
        "name": name,
        "model": name,
        "modified_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "size": model.size,
        "digest": model.digest,
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def show(engine: Engine, name: str) -> dict[str, object]:
    """/api/show for a model that an OpenAI server has: what clients read, as far as it is known.

    Copilot crashes without `model_info`, Continue matches `parameters` line by line.
    """
    window = engine.window_of(name)
    return {
        "modelfile": "",
        "parameters": f"num_ctx {window}" if window else "",
        "template": "",
        "details": _tag(name, engine)["details"],
        "model_info": {"general.architecture": "unknown", "unknown.context_length": window},
        "capabilities": ["completion", "tools"],
    }


def running(engines: Iterable[Engine]) -> dict[str, object]:
    """/api/ps: what is loaded anywhere. One on two engines is told once."""
    entries: dict[str, Mapping[str, object]] = {}
    for engine in engines:
        for name, entry in engine.reading.running.items():
            entries.setdefault(name, entry)
    return {"models": list(entries.values())}


def version(engines: Iterable[Engine]) -> dict[str, object]:
    """/api/version: the oldest Ollama's, since any may answer."""
    told = [engine.version for engine in engines if engine.kind == "ollama" and engine.version]
    return {"version": min(told, key=_numbers, default=OLLAMA_VERSION)}


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.partition("-")[0].split(".")]


def models(
    engines: Iterable[Engine], aliases: Mapping[str, str], *, may_use: Callable[[str], bool]
) -> dict[str, object]:
    """/v1/models, with the window as vLLM tells it where it is known."""
    entries = {name: _entry(name, engine, name) for name, engine in _models(tuple(engines))}
    for alias, name in aliases.items():
        if name in entries and alias not in entries:
            entries[alias] = {**entries[name], "id": alias}
    return {"object": "list", "data": [entry for name, entry in entries.items() if may_use(name)]}


def model(engine: Engine, name: str, asked: str) -> dict[str, object]:
    """/v1/models/NAME."""
    return _entry(name, engine, asked)


def _entry(name: str, engine: Engine, asked: str) -> dict[str, object]:
    known = engine.reading.models.get(name)
    entry: dict[str, object] = {"object": "model", "created": int(time.time()), "owned_by": "library"}
    if known is not None and engine.api != "ollama":
        entry.update(known.listing)
    entry["id"] = asked
    if window := engine.window_of(name):
        entry.setdefault("max_model_len", window)
    return entry
