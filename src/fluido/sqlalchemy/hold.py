"""One checkout of a connection, from the moment it is taken until it comes back."""

import asyncio
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from fluido.flow.limiter import Limiter
from fluido.sqlalchemy.gate import ConnectionGate

# Under this key of `record_info` whoever has the connection finds the checkout.
HOLD = "fluido.hold"
# Far below what the law wants a pool tells it nothing; then each statement costs some microseconds less.
BINDS = 2
DRIVERS = ("asyncpg", "psycopg")


class Hold:
    """Who holds a connection since when, and how much of that time the database was working."""

    __slots__ = (
        "binds",
        "database_s",
        "gate",
        "inflight",
        "label",
        "limit",
        "limiter",
        "reported",
        "statements",
        "taken_s",
        "task",
        "waited_s",
        "working_since_s",
    )

    def __init__(
        self, limiter: Limiter, gate: ConnectionGate, *, label: str, taken_s: float, waited_s: float
    ) -> None:
        self.limiter = limiter
        self.gate = gate
        self.label = label
        self.taken_s = taken_s
        self.waited_s = waited_s
        self.inflight = gate.inflight
        self.limit = gate.limit
        self.binds = True
        self.task = _current_task()
        self.database_s = 0.0
        self.statements = 0
        self.working_since_s: float | None = None
        self.reported = False

    def begin(self) -> None:
        """The database starts to work for the holder."""
        gate = self.gate
        self.inflight = gate.inflight
        self.limit = gate.limit
        self.binds = gate.waiting > 0 or BINDS * gate.inflight >= gate.wanted
        self.working_since_s = self.limiter.clock()

    def end(self, now_s: float) -> None:
        """The database has answered."""
        if self.working_since_s is not None:
            self.database_s += now_s - self.working_since_s
            self.working_since_s = None
            self.statements += 1

    def idle_s(self, now_s: float) -> float:
        """Seconds in which the connection was held and the database had nothing to do for the holder."""
        working_s = 0.0 if self.working_since_s is None else now_s - self.working_since_s
        return now_s - self.taken_s - self.database_s - working_s

    def places(self) -> list[str]:
        """Where the holder is now: `file:line in function`, from the outermost call to the innermost."""
        return [] if self.task is None else list(_places(self.task.get_coro()))

    def place(self) -> str:
        """The same in one line."""
        return " > ".join(self.places()) or "unknown place"

    def in_driver(self) -> bool:
        """Whether the holder waits for the driver after all: fetches of a stream are not timed."""
        return any(f"/{driver}/" in place for place in self.places()[-3:] for driver in DRIVERS)


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _places(awaitable: Any) -> Iterator[str]:
    """Follow the chain of awaits; a task keeps no stack, but each coroutine knows what it waits for."""
    for _ in range(64):
        frame: FrameType | None = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "ag_frame", None)
        code: CodeType | None = getattr(awaitable, "cr_code", None) or getattr(awaitable, "ag_code", None)
        if frame is not None and code is not None:
            yield f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "ag_await", None)
        if awaitable is None:
            return
