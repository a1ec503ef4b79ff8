"""What the dispatcher needs from an engine, and what callers may ask of the runner of its model."""

import enum
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fluido.llm._call import Call, Delta, Options, Timings
from fluido.llm._errors import CallRejected
from fluido.llm._profile import RUNNER_FIELDS, Wishes, canonical


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine says about itself. `slots` is None where it does not tell how many it has; then
    `usual_slots` is how many engines of its kind work on at a time (None: nobody knows).

    `context_tokens` is the window of one slot (0: unknown). `pins_slots` tells that a call may name its slot.
    `defaults` is what the model's author set: nobody fills over it. `instance` changes when the engine was
    restarted or the model reloaded, and everything that was resident is gone. `loads`: models come and go,
    and this one is `resident` or not; unused it stays for `idle_s`. `ends_prefill`: a call that is closed
    during its prefill frees its slot at once. `runner` is how the model is loaded, `wishes` what becomes of a
    caller who asks otherwise, `most_context_tokens` how far a window may grow for that. `tells_restart`: the
    same `instance` means that nothing was forgotten; without it a refused connection counts as a restart.
    `kv_tokens` is the KV memory that all slots share (0: not told).
    """

    name: str
    kind: str
    model: str
    slots: int | None
    context_tokens: int
    version: str
    pins_slots: bool = False
    thinks: bool = False
    defaults: Options = field(default_factory=Options)
    instance: str = ""
    loads: bool = False
    resident: bool = True
    idle_s: float = math.inf
    ends_prefill: bool = True
    runner: Mapping[str, object] = field(default_factory=dict)
    wishes: Wishes = Wishes.RESIDENT
    most_context_tokens: int = 0
    tells_restart: bool = False
    kv_tokens: int = 0
    usual_slots: int | None = None

    def named(self, model: str) -> str:
        """The one name of `model` on this engine; empty is the engine's own."""
        model = model or self.model
        return canonical(model) if self.kind == "ollama" else model


@dataclass(frozen=True, slots=True)
class SlotState:
    """One KV slot as the engine shows it. `task` changes with every call it serves (-1: none yet).

    `held_tokens` is what it holds now (None: not told): 0 in a slot that has served shows that the engine
    empties the idle ones.
    """

    slot: int
    busy: bool
    task: int = -1
    held_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """Liveness check: what a server says of itself in passing, while an answer is silent or before a pin.

    `resident`: whether the model asked for is loaded (None: not told), with a window of `window_tokens` (0:
    not told). `slots` are its KV slots (None: not told). That it answers at all is the most of it.
    """

    resident: bool | None = None
    window_tokens: int = 0
    slots: tuple[SlotState, ...] | None = None


class Life(enum.Enum):
    """What a silent engine answers: it is seen at work, lives and does not tell, is idle, or nothing."""

    AT_WORK = enum.auto()
    UNTOLD = enum.auto()
    IDLE = enum.auto()
    MUTE = enum.auto()


class Engine(Protocol):
    """One server that answers. Inert until `open`; `close` may be called twice."""

    @property
    def name(self) -> str:
        """How logs and metrics call it."""

    async def open(self) -> None:
        """Make what needs a running loop. Does not talk to the server."""

    async def close(self) -> None:
        """Close every connection; streams that run fail."""

    async def facts(self, model: str = "") -> EngineFacts:
        """Ask the server. Raises EngineUnavailable in under a second when nobody answers."""

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """Load `model` and return when it can answer; nothing to do for an engine that serves one model.

        With `window_tokens` it is loaded with that window, which then stays; when that fails the one before.
        """

    def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Answer one call: deltas, then exactly one Timings.

        Closing the generator closes the connection at once, which makes the server stop. Raises CallRejected
        (and its kinds) for a call that was refused, with the server's status and text: ModelMissing for a
        model that is not *here*, PromptTooLong, CallFailed for a 5xx with a text or an error told before the
        first delta. EngineBusy: its own queue is full; CacheFull: its KV memory is. EngineUnavailable: nobody
        answers. StreamBroken: the stream ended before the server said it was done, `told` where the server
        said why. `Timings.slot` is the slot that was used, None where it is not known.
        """


@runtime_checkable
class Telling(Protocol):
    """What an engine may answer besides. One without is asked for its facts instead of a pulse."""

    async def has(self, model: str) -> bool | None:
        """Whether it has `model`, loaded or not; None where it does not tell. Raises EngineUnavailable."""

    async def pulse(self, model: str = "") -> Pulse:
        """The cheapest question there is. Raises EngineUnavailable when nobody answers."""


def refuse_other_runner(call: Call, facts: EngineFacts | None) -> None:
    """Raise CallRejected for the first runner option that is not the one in force, where that is the rule."""
    if facts is None or facts.wishes is not Wishes.STRICT:
        return
    for name, value in sorted(call.runner.items()):
        if name in RUNNER_FIELDS and facts.runner.get(name) != value:
            kept = facts.runner.get(name, "its own")
            raise CallRejected(
                f"{name}={value} would reload the model, which keeps {name}={kept}: ask without it",
                field=name,
            )


def wider_window(call: Call, facts: EngineFacts | None) -> int:
    """The larger window that `call` asks for where such wishes are planned for, else 0."""
    asked = call.runner.get("num_ctx")
    if facts is None or facts.wishes is not Wishes.PLANNED or facts.named(call.model) != facts.named(""):
        return 0
    return asked if isinstance(asked, int) and asked > facts.context_tokens else 0
