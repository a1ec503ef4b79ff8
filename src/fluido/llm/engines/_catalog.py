"""What OpenAI-compatible servers tell about their models: names, windows, and which are for conversation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from fluido.llm.engines._wire import mapping, number, text

NEAR = 0.5
NEAREST = 3
# Where a listing says how long a prompt may be: vLLM, LM Studio (as loaded, else at most), OpenRouter and
# Together, Groq, llama.cpp.
WINDOW_FIELDS = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
)
# Names of models that make vectors, order documents or hear: nobody can talk with them.
NOT_FOR_CHAT = (
    "embed",
    "rerank",
    "minilm",
    "bge-",
    "gte-",
    "e5-",
    "whisper",
    "-tts",
    "colbert",
)
NO_CHAT_TYPES = frozenset({"embeddings", "embedding", "rerank", "reranker", "score", "tts", "stt", "image"})


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of a listing. `window_tokens` is 0 where it is not told."""

    name: str
    window_tokens: int = 0
    for_chat: bool = True
    loaded: bool = True


def is_listing(reply: object) -> bool:
    """Whether a reply lists models, be it none; some hosted servers send the list alone."""
    return isinstance(reply, list) or isinstance(mapping(reply).get("data"), list)


def listed(listing: object) -> list[Listed]:
    """The models of `/v1/models` or LM Studio's `/api/v0/models`, in their order."""
    data = listing if isinstance(listing, list) else mapping(listing).get("data")
    entries = (mapping(entry) for entry in (data if isinstance(data, list) else []))
    return [_listed(entry) for entry in entries if text(entry.get("id"))]


def _listed(entry: Mapping[str, object]) -> Listed:
    name = text(entry.get("id"))
    meta = mapping(entry.get("meta"))
    window = next((int(number(entry.get(f))) for f in WINDOW_FIELDS if number(entry.get(f)) > 0), 0)
    kind = text(entry.get("type")).lower()
    # a kind that says something is believed before a name that seems to
    for_chat = kind not in NO_CHAT_TYPES if kind and kind != "model" else is_for_chat(name)
    loaded = text(entry.get("state")) in {"", "loaded"}
    return Listed(name, window or int(number(meta.get("n_ctx"))), for_chat, loaded)


def is_for_chat(name: str) -> bool:
    """Whether a model may be talked with, by its name alone."""
    lowered = name.lower()
    return not any(sign in lowered for sign in NOT_FOR_CHAT)


def first_for_chat(models: Iterable[Listed]) -> Listed | None:
    """The model that is used where nobody names one: loaded before not loaded, in the server's order."""
    return min((model for model in models if model.for_chat), key=lambda m: not m.loaded, default=None)


def near(model: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names that come near one that is missing."""
    return tuple(get_close_matches(model, list(names), n=NEAREST, cutoff=NEAR))


def told_window(reply: object) -> int:
    """A window out of the replies of TabbyAPI's `/v1/model` and KoboldCpp's `true_max_context_length`."""
    said = mapping(reply)
    parameters = mapping(said.get("parameters"))
    return int(number(parameters.get("max_seq_len")) or number(said.get("value")))
