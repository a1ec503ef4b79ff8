"""Facts of one engine: Ollama's version, tags and ps, llama.cpp's props, the models that others list."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fluido.errors import EngineUnavailable
from fluido.llm.engines import NO_KEY, Transport, listed, mapping, number, text, told_window

from ._config import EngineUrl

EXTRA_ASK_S = 1.0
# Where servers tell the window that `/v1/models` does not: TabbyAPI, KoboldCpp.
WINDOW_PLACES = ("/v1/model", "/api/extra/true_max_context_length")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of an engine. `window` is what it would be loaded with, 0 where nobody tells."""

    name: str
    digest: str = ""
    size: int = 0
    window: int = 0
    listing: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Its entry in the engine's own listing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """An engine at one moment. `resident` is each loaded model's window; `running` its entry in /api/ps.

    `is_asleep`: a vLLM whose memory was freed by /sleep, which answers no call; None: it tells nothing of it.
    """

    kind: Literal["", "ollama", "llamacpp", "openai"] = ""
    version: str = ""
    models: Mapping[str, Model] = field(default_factory=dict)
    resident: Mapping[str, int] = field(default_factory=dict)
    running: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    slots: int | None = None
    window: int = 0
    is_asleep: bool | None = None


async def read(link: Transport, told: EngineUrl, before: Reading) -> Reading:
    """Ask an engine. What cannot change while it runs is taken from `before`.

    Raises EngineUnavailable with a sentence that says what to do.
    """
    if before.kind == "ollama" or told.api == "ollama":
        return await _ollama(link, told)
    if not before.kind and not told.api:
        status, said = await link.ask("GET", "/api/version")
        # llama.cpp's server has no such page, others answer anything to everything
        if status == 200 and "version" in said and (await link.ask("GET", "/api/tags"))[0] == 200:
            return await _ollama(link, told)
    return await _openai(link, told, before)


async def _ollama(link: Transport, told: EngineUrl) -> Reading:
    version = await _page(link, "/api/version", "an Ollama", "http://127.0.0.1:11434")
    tags = await _page(link, "/api/tags", "an Ollama", "http://127.0.0.1:11434")
    running = await _page(link, "/api/ps", "an Ollama", "http://127.0.0.1:11434")
    models = {each.name: each for entry in _entries(tags) if (each := _tag(entry)).name}
    loaded = {name: entry for entry in _entries(running) if (name := text(entry.get("name")))}
    return Reading(
        "ollama",
        text(version.get("version")),
        models,
        {name: int(number(entry.get("context_length"))) for name, entry in loaded.items()},
        loaded,
        told.slots,
        told.window or 0,
    )


def _entries(listing: Mapping[str, object]) -> list[dict[str, object]]:
    models = listing.get("models")
    return [mapping(entry) for entry in (models if isinstance(models, list) else [])]


def _tag(entry: Mapping[str, object]) -> Model:
    name = text(entry.get("name")) or text(entry.get("model"))
    return Model(name, text(entry.get("digest")), int(number(entry.get("size"))), 0, entry)


async def _openai(link: Transport, told: EngineUrl, before: Reading) -> Reading:
    status, props = await link.ask("GET", "/props")
    if status == 503:
        raise EngineUnavailable(f"{link.base_url} is loading its model", retry_after_s=1.0)
    listing = await _page(link, "/v1/models", "an OpenAI-compatible server", "http://127.0.0.1:8000")
    data = listing.get("data")
    entries = [mapping(each) for each in (data if isinstance(data, list) else [])]
    raw = {text(entry.get("id")): entry for entry in entries}
    models = {
        each.name: Model(each.name, "", 0, each.window_tokens, raw[each.name]) for each in listed(listing)
    }
    is_llamacpp = status == 200 and "total_slots" in props
    window, slots, version = told.window or 0, told.slots, ""
    if is_llamacpp:
        window = window or int(number(mapping(props.get("default_generation_settings")).get("n_ctx")))
        slots = slots or int(number(props.get("total_slots"))) or None
        version = text(props.get("build_info"))
    elif not window and len(models) == 1 and not any(model.window for model in models.values()):
        window = before.window if list(before.models) == list(models) else await _told_window(link)
    # llama.cpp in router mode says which of its models is loaded
    loaded = {
        name: window or model.window
        for name, model in models.items()
        if text(mapping(model.listing.get("status")).get("value")) in {"", "loaded"}
    }
    if is_llamacpp:
        return Reading("llamacpp", version, models, loaded, {}, slots, window)
    is_asleep = before.is_asleep
    if not before.kind or is_asleep is not None:
        is_asleep = await _is_asleep(link)
    return Reading("openai", version, models, loaded, {}, slots, window, is_asleep)


async def _is_asleep(link: Transport) -> bool | None:
    """Only a vLLM that was started for it (VLLM_SERVER_DEV_MODE=1) has this page, and can be put to sleep."""
    status, said = await link.ask("GET", "/is_sleeping")
    asleep = said.get("is_sleeping")
    return asleep if status == 200 and isinstance(asleep, bool) else None


async def _told_window(link: Transport) -> int:
    for place in WINDOW_PLACES:
        try:
            status, said = await link.ask("GET", place, timeout_s=EXTRA_ASK_S)
        except EngineUnavailable:
            continue
        if status == 200 and (window := told_window(said)):
            return window
    return 0


async def _page(link: Transport, path: str, what: str, example: str) -> dict[str, object]:
    status, said = await link.ask("GET", path)
    if status in NO_KEY:
        raise EngineUnavailable(
            f"{link.base_url} answers {status} to {path}: it wants a key, as in http://:KEY@host:port"
        )
    if status != 200:
        raise EngineUnavailable(
            f"{link.base_url} answers {status} to {path}: is it {what}? Its address is like {example}"
        )
    return said
