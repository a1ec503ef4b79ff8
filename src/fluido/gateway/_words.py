"""What the command line says at its start: what was found, the addresses to paste, a line to try."""

import json
from collections.abc import Iterable, Sequence

from fluido import __version__
from fluido.llm.engines import is_for_chat

from ._config import Config
from ._discovery import Engine

KINDS = {"ollama": "Ollama", "llamacpp": "llama.cpp", "openai": "an OpenAI server", "": "unknown"}
MOST_NAMES = 6


def found(engines: Iterable[Engine]) -> list[str]:
    """What was found, with one line for each engine."""
    lines = [f"  {_line(engine)}" for engine in engines]
    return [f"Found {len(lines)} engine{'' if len(lines) == 1 else 's'}", *lines]


def _line(engine: Engine) -> str:
    if engine.error:
        return f"{engine.name}: away. It is asked again every second"
    what = f"{KINDS[engine.kind]} {engine.version}".strip()
    slots = f", {engine.slots} slots" if engine.slots else ""
    loaded = [f"{name} (window {window})" if window else name for name, window in engine.resident.items()]
    rest = [name for name in engine.models if name not in engine.resident]
    more = f" and {len(rest) - MOST_NAMES} more" if len(rest) > MOST_NAMES else ""
    parts = [f"loaded: {', '.join(loaded[:MOST_NAMES])}"] if loaded else []
    if rest:
        parts.append(f"not loaded: {', '.join(rest[:MOST_NAMES])}{more}")
    models = "; ".join(parts) or "no model"
    return f"{engine.name}: {what}{slots}; {models}"


def greeting(config: Config, engines: Sequence[Engine], secret: str) -> list[str]:
    """The addresses, and a line to try."""
    url = config.url
    keyed = f"{url}/k/{secret}" if secret else url
    lines = [
        f"fluido gateway {__version__} listens on {url}" + (" and only observes" if config.observe else ""),
        f"  for clients of Ollama:  {keyed}",
        f"  for clients of OpenAI:  {keyed}/v1",
        f"  the panel:              {keyed}/gateway",
    ]
    if secret:
        lines.append(f"  the key, told this once: {secret}")
    elif config.keys:
        lines.append(f"  {len(config.keys)} keys are known: as a Bearer token, or in the address as /k/KEY")
    if model := _model(engines):
        body = json.dumps(
            {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "stream": False}
        )
        lines += ["Try", f"  curl {keyed}/api/chat -d '{body}'"]
    return lines


def _model(engines: Iterable[Engine]) -> str:
    """One to try: loaded before not loaded."""
    names = [(name not in engine.resident, name) for engine in engines for name in engine.models]
    return min(((away, name) for away, name in names if is_for_chat(name)), default=(True, ""))[1]
