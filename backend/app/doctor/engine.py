"""Facts of an engine: llama.cpp's server by /props, Ollama by /api/version, /api/ps and /api/show."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from fluido.llm import engine_address, modelfile_parameters

from . import web
from .facts import EngineFacts
from .web import mapping, number, text

Ask = Callable[..., Awaitable[web.Answer]]


async def read(
    url: str, token_wait_s: float, *, api_key: str = "", headers: Mapping[str, str] | None = None
) -> EngineFacts:
    """Raises OSError when nobody answers, ValueError for no address. Secrets are sent, not told."""
    where = engine_address(
        url, endings=("/api", "/v1", "/chat/completions"), api_key=api_key, headers=headers
    )
    base, ask = where.url, partial(web.ask, headers=where.headers)
    props = await ask(f"{base}/props")
    if props.status == 200 and "total_slots" in props.json():
        slots = int(number(props.json()["total_slots"]))
        return EngineFacts(base, "llamacpp", text(props.json().get("build_info")), slots or None)
    version = await ask(f"{base}/api/version")
    if version.status == 200:
        return await _ollama(ask, base, text(version.json().get("version")), token_wait_s)
    return EngineFacts(base, "openai", "", None)


async def _ollama(ask: Ask, base: str, version: str, token_wait_s: float) -> EngineFacts:
    listing = (await ask(f"{base}/api/ps")).json().get("models")
    loaded = [mapping(entry) for entry in listing] if isinstance(listing, list) else []
    if not loaded:
        return EngineFacts(base, "ollama", version, None)
    model = text(loaded[0].get("name"))
    show = (await ask(f"{base}/api/show", body={"model": model})).json()
    resident = int(number(loaded[0].get("context_length")))
    return EngineFacts(
        base,
        "ollama",
        version,
        None,
        model=model,
        wanted_tokens=int(number(modelfile_parameters(text(show.get("parameters"))).get("num_ctx"))),
        resident_tokens=resident,
        stalled_s=await _stalled_s(ask, base, model, resident, token_wait_s),
    )


async def _stalled_s(ask: Ask, base: str, model: str, resident_tokens: int, wait_s: float) -> float | None:
    """Ask for one token of the model as it is loaded; how long none came, or None when it came.

    In the window that it has: another one would make it reload, which is what we warn of. An Ollama that
    does not tell its window is not asked.
    """
    if not resident_tokens:
        return None
    options = {"num_predict": 1, "num_ctx": resident_tokens}
    body = {"model": model, "prompt": "1", "stream": False, "options": options}
    began_s = time.perf_counter()
    try:
        await ask(f"{base}/api/generate", body=body, timeout_s=wait_s)
    except OSError:
        return time.perf_counter() - began_s
    return None
