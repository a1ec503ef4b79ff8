"""One question to a language model, and what comes back."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from difflib import get_close_matches
from enum import Enum, IntEnum, unique
from typing import TYPE_CHECKING, Protocol

from fluido.llm._errors import CallRejected
from fluido.llm._profile import RUNNER_FIELDS


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


class MessageLike(Protocol):
    """A message of another client: a Message, or an object of `openai` or `ollama`."""

    @property
    def role(self) -> str:
        """As in Message."""
        ...

    @property
    def content(self) -> object:
        """A text, parts of text, or None where an assistant said nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """Sampling of one request. None means "not set": the model's own default stays in force.

    `max_tokens` is another name for `num_predict`. `more` is passed on to the engine as it is, under its own
    names (mirostat, repeat_last_n, min_tokens ...). Nothing in here makes an engine reload its model; what
    would, lives in `profile.RunnerProfile`.
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
    more: Mapping[str, object] = field(default_factory=dict)
    max_tokens: InitVar[int | None] = None

    if TYPE_CHECKING:  # what may be given is wider than what is read

        def __init__(
            self,
            *,
            num_predict: int | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            top_k: int | None = None,
            min_p: float | None = None,
            repeat_penalty: float | None = None,
            presence_penalty: float | None = None,
            frequency_penalty: float | None = None,
            seed: int | None = None,
            stop: str | Sequence[str] | None = None,
            more: Mapping[str, object] = ...,
            max_tokens: int | None = None,
        ) -> None: ...

    def __post_init__(self, max_tokens: int | None) -> None:
        if self.stop is not None and type(self.stop) is not tuple:
            object.__setattr__(self, "stop", _texts("stop", self.stop))
        if isinstance(max_tokens, int):
            if self.num_predict not in {None, max_tokens}:
                raise ValueError(f"num_predict={self.num_predict} and max_tokens={max_tokens} are one option")
            object.__setattr__(self, "num_predict", max_tokens)

    @classmethod
    def parse(cls, raw: Mapping[str, object]) -> "Options":
        """Options from untrusted JSON, under the names of any client.

        A wrong type, a name that is almost one of ours and an option of the model's runner raise
        CallRejected. Every other name is kept in `more`, for the engine to judge.
        """
        taken: dict[str, object] = {}
        more: dict[str, object] = {}
        for asked, value in raw.items():
            name = OTHER_NAMES.get(asked, asked)
            if value is None:
                continue
            if name not in _PARSERS:
                more[name] = _passed_on(name, value)
            elif taken.setdefault(name, parsed := _PARSERS[name](asked, value)) != parsed:
                raise CallRejected(f"option {asked} says otherwise than {name}: give one", field=asked)
        return cls(**taken, more=more)  # type: ignore[arg-type]  # the parsers return each field's type

    def filled(self, other: "Options") -> "Options":
        """These options, with what is not set taken from `other`."""
        merged = {
            name: mine if (mine := getattr(self, name)) is not None else getattr(other, name)
            for name in _PARSERS
        }
        return Options(**merged, more={**other.more, **self.more})

    def given(self) -> dict[str, object]:
        """Only what is set, under Ollama's names."""
        known = {name: value for name in _PARSERS if (value := getattr(self, name)) is not None}
        return {**self.more, **known}


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


_PARSERS: Mapping[str, Callable[[str, object], object]] = {
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
# What other clients and servers call them.
OTHER_NAMES = {
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "max_new_tokens": "num_predict",
    "n_predict": "num_predict",
    "repetition_penalty": "repeat_penalty",
    "stop_sequences": "stop",
}
# Names of engines that come near one of ours and are not meant for it.
_OF_ENGINES = frozenset({"min_tokens", "top_a", "top_n_sigma", "typical_p", "stop_token_ids"})
TYPO = 0.8


def _passed_on(name: str, value: object) -> object:
    if name in RUNNER_FIELDS:
        raise CallRejected(
            f"option {name} belongs to the runner and would reload the model: ask in Call(runner=...)",
            field=name,
        )
    near = get_close_matches(name, (*_PARSERS, *OTHER_NAMES), n=1, cutoff=TYPO)
    if near and name not in _OF_ENGINES:
        raise CallRejected(f"there is no option {name}: did you mean {near[0]}?", field=name)
    return value


@dataclass(frozen=True, slots=True)
class Call:
    """A question with everything that decides when, where and how it is answered.

    A message may also be a mapping, as clients of OpenAI and Ollama write it, its content a text or a list of
    parts of text; what is not text raises CallRejected. `model` may be empty: the engine's own. `kind` is an
    explicit hint and beats detection. `key` shares the engine fairly (a user, an API key); `tenant` is the
    wall no cached answer crosses. `conversation` names a growing history, so that its prefix can be found
    again. `deadline_s` is the latest time for the *first* token, absolute on the dispatcher's clock. `trim`
    allows old turns to be left out when the window is full; without it such a call raises PromptTooLong.
    `runner` is what a caller asked of the model's runner (num_ctx and the like): it is never sent, only
    answered in `Timings.notes`. `window_tokens` is the dispatcher's: the window that another client loaded.
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
    window_tokens: int | None = None

    if TYPE_CHECKING:  # what may be given is wider than what is read

        def __init__(
            self,
            messages: Sequence[MessageLike | Mapping[str, object]],
            model: str = "",
            *,
            options: Options | Mapping[str, object] = ...,
            kind: Kind | None = None,
            label: str = "",
            lane: Lane = Lane.INTERACTIVE,
            key: str = "",
            tenant: str = "",
            conversation: str = "",
            deadline_s: float | None = None,
            trim: bool = True,
            think: bool | None = None,
            response_format: str | Mapping[str, object] | None = None,
            runner: Mapping[str, object] = ...,
            window_tokens: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if isinstance(self.options, Mapping):
            object.__setattr__(self, "options", Options.parse(self.options))
        if not (isinstance(self.messages, tuple) and all(map(_is_plain, self.messages))):
            object.__setattr__(self, "messages", _messages(self.messages))


def _is_plain(message: object) -> bool:
    return type(message) is Message and type(message.content) is str


def _messages(given: object) -> tuple[Message, ...]:
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise CallRejected(
            "messages must be a sequence of messages, each with a role and a content", field="messages"
        )
    return tuple(_message(f"messages[{place}]", each) for place, each in enumerate(given))


def _message(place: str, given: object) -> Message:
    """A message of any client: a Message, a mapping, or an object with the same names."""
    if isinstance(given, Mapping):
        unspoken = sorted(name for name, value in given.items() if value and name not in _MESSAGE_FIELDS)
        if unspoken:
            raise CallRejected(
                f"{place} holds {unspoken[0]}, which is not spoken here: only role and text are",
                field="messages",
            )
        role, content = given.get("role"), given.get("content")
    else:
        role, content = getattr(given, "role", None), getattr(given, "content", None)
    if not isinstance(role, str) or not role:
        raise CallRejected(
            f"{place} has no role: it is one of system, user, assistant, tool", field="messages"
        )
    if content is None and role == "assistant":
        return Message(role, "")
    return Message(role, _content(place, content))


def _content(place: str, content: object) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        raise CallRejected(f"{place} has no content: give a text", field="messages")
    if not isinstance(content, Sequence) or isinstance(content, bytes | bytearray):
        raise CallRejected(
            f"{place} has a content of type {type(content).__name__}: give a text", field="messages"
        )
    texts = []
    for part in content:
        said = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(said, str):
            kind = part.get("type", "unknown") if isinstance(part, Mapping) else type(part).__name__
            raise CallRejected(
                f"{place} has a part of type {kind!r}: only parts of text are spoken", field="messages"
            )
        texts.append(said)
    return "\n".join(texts)


# What a message may hold beside role and content: thoughts are not sent back, the rest says nothing.
_MESSAGE_FIELDS = frozenset(
    {"role", "content", "thinking", "reasoning", "reasoning_content", "refusal", "annotations", "id"}
)


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
