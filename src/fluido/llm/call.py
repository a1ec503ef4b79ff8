"""One question to a language model, and what comes back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum, IntEnum, unique

from fluido.llm.errors import CallRejected


@unique
class Lane(IntEnum):
    """Who waits for whom. Under overload the last one is shed first."""

    INTERACTIVE = 0
    NORMAL = 1
    BACKGROUND = 2


@unique
class Kind(Enum):
    """What kind of answer a query asks for."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is "system", "user", "assistant" or "tool"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Options:
    """Sampling of one request. None means "not set": the model's own default stays in force.

    Nothing in here makes an engine reload its model; what would, lives in `profile.RunnerProfile`.
    """

    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> "Options":
        """Options from untrusted JSON. Unknown names are left out; a wrong type raises CallRejected."""
        taken: dict[str, object] = {}
        for name, value in raw.items():
            if name in _PARSERS and value is not None:
                taken[name] = _PARSERS[name](name, value)
        return cls(**taken)  # type: ignore[arg-type]  # the parsers return each field's type

    def filled(self, other: "Options") -> "Options":
        """These options, with what is not set taken from `other`."""
        merged = {
            f.name: mine if (mine := getattr(self, f.name)) is not None else getattr(other, f.name)
            for f in fields(self)
        }
        return Options(**merged)

    def given(self) -> dict[str, object]:
        """Only what is set, under Ollama's names."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


def _whole(name: str, value: object) -> int:
    number = _number(name, value)
    if number != int(number):
        raise CallRejected(f"option {name} must be a whole number, not {value!r}", field=name)
    return int(number)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CallRejected(f"option {name} must be a number, not {value!r}", field=name)
    return float(value)


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise CallRejected(f"option {name} must be a text or a list of texts", field=name)
    return tuple(texts)


_PARSERS = {
    "num_predict": _whole,
    "temperature": _number,
    "top_p": _number,
    "top_k": _whole,
    "min_p": _number,
    "repeat_penalty": _number,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "seed": _whole,
    "stop": _texts,
}


@dataclass(frozen=True, slots=True)
class Call:
    """A question with everything that decides when, where and how it is answered.

    `model` may be empty: the engine's own. `kind` is an explicit hint and beats detection. `key` shares the
    engine fairly (a user, an API key); `tenant` is the wall no cached answer crosses. `conversation` names a
    growing history, so that its prefix can be found again. `deadline_s` is the latest time for the *first*
    token, absolute on the dispatcher's clock. `trim` allows old turns to be left out when the window is full;
    without it such a call raises PromptTooLong. `runner` is what a caller asked of the model's runner
    (num_ctx and the like): it is never sent, only answered in `Timings.notes`.
    """

    messages: tuple[Message, ...]
    model: str = ""
    options: Options = Options()
    kind: Kind | None = None
    label: str = ""
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    tenant: str = ""
    conversation: str = ""
    deadline_s: float | None = None
    trim: bool = True
    think: bool | None = None
    response_format: str | Mapping[str, object] | None = None
    runner: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer as it comes. `thinking` is what a reasoning model says to itself."""

    text: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """The end of every answer. Seconds: queue + load + prefill + decode make the whole, within some percent.

    `queue_s` counts our own wait and the engine's. `cached_tokens` is None where the engine does not tell.
    `slot` is the pinned slot. `replayed` means that another identical call did the work. `dropped_messages`
    were trimmed from the front of the history. `notes` tells the caller what was answered otherwise than
    asked.
    """

    queue_s: float
    load_s: float
    prefill_s: float
    decode_s: float
    ttft_s: float
    total_s: float
    prompt_tokens: int
    cached_tokens: int | None
    output_tokens: int
    finish_reason: str
    slot: int | None = None
    engine: str = ""
    model: str = ""
    kind: Kind | None = None
    replayed: bool = False
    retries: int = 0
    dropped_messages: int = 0
    notes: tuple[str, ...] = ()
