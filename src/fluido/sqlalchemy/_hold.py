"""Checkout of a connection, from the moment it is taken until it comes back."""

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from types import CodeType, FrameType
from typing import Any, Protocol

from sqlalchemy.pool import Pool
from sqlalchemy.pool.base import _ConnectionRecord

from fluido.flow._limiter import Limiter
from fluido.sqlalchemy._gate import ConnectionGate
from fluido.sqlalchemy._limits import Limits

# In the middle of a stream a holder is in the driver, or about to be: the next row is asked for in a task.
READERS = ("/asyncpg/", "/psycopg/", "/sqlalchemy/ext/asyncio/result.py")
# In the driver, and still nothing that the server works on: the next notification.
LISTENERS = (".notifies",)
# What the interpreter puts between a coroutine and what it awaits, and does not let one look into.
WRAPPERS = {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"}


class Hold:
    """Who holds a connection since when, and how much of that time the database was working.

    Each entry of a pool has one, which is set anew at every checkout: to build one takes a microsecond.
    """

    __slots__ = (
        "asked_s",
        "database_s",
        "gate",
        "idle_since_s",
        "inflight",
        "label",
        "lent",
        "limit",
        "limiter",
        "reported",
        "statement",
        "taken_s",
        "task",
        "working_since_s",
    )

    def __init__(self, limiter: Limiter, gate: ConnectionGate) -> None:
        self.limiter = limiter
        self.gate = gate
        self.label = ""
        # Weak: a task that failed keeps its frames, and with them the connection that it forgot.
        self.task: weakref.ref[asyncio.Task[Any]] | None = None
        self.asked_s = self.taken_s = self.idle_since_s = 0.0
        self.statement = ""
        self.lent = False  # whether its permit is somebody else's meanwhile
        self.inflight = 0
        self.limit = 0.0
        self.database_s = 0.0
        self.working_since_s: float | None = None
        self.reported = False

    def idle_s(self, now_s: float) -> float:
        """Seconds in which the connection was held and the database had nothing to do for the holder."""
        working_s = 0.0 if self.working_since_s is None else now_s - self.working_since_s
        return now_s - self.taken_s - self.database_s - working_s

    def begin_untimed(self) -> None:
        """The holder asks the server for something that is no sample, and that ends with `end_untimed()`."""
        if self.lent:
            self.lent = False
            self.gate.recall(self.label)
        self.idle_since_s = math.inf

    def end_untimed(self) -> None:
        """From now on it is idle again."""
        self.idle_since_s = self.limiter.clock()

    def places(self) -> list[str]:
        """Where the holder is now: `file:line in function`, from the outermost call to the innermost."""
        task = None if self.task is None else self.task()
        return [] if task is None else list(_places(task.get_coro()))

    def place(self) -> str:
        """The same in one line."""
        return " > ".join(self.places()) or "unknown place"

    def in_driver(self) -> bool:
        """Whether the holder waits for the driver after all: fetches of a stream are not timed."""
        return any(reader in place for place in self.places()[-3:] for reader in READERS)

    def at_server(self) -> bool:
        """Whether it waits there for something that the server is to do."""
        return self.in_driver() and not any(place.endswith(LISTENERS) for place in self.places())


def _places(awaitable: Any) -> Iterator[str]:
    """Follow the chain of awaits; a task keeps no stack, but each coroutine knows what it waits for."""
    for _ in range(64):
        frame: FrameType | None = _first_of(awaitable, "cr_frame", "ag_frame", "gi_frame")
        code: CodeType | None = _first_of(awaitable, "cr_code", "ag_code", "gi_code")
        if frame is not None and code is not None:
            yield f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
            awaitable = _first_of(awaitable, "cr_await", "ag_await", "gi_yieldfrom")
        else:
            awaitable = _inside(awaitable)
        if awaitable is None:
            return


def _first_of(holder: Any, *names: str) -> Any:
    return next((found for name in names if (found := getattr(holder, name, None)) is not None), None)


def _inside(awaitable: Any) -> Any:
    """What a wrapper without a frame waits for: one step of an async generator, a future of a task.

    The wrappers that the interpreter makes have no attribute for it; the garbage collector sees through.
    """
    for found in gc.get_referents(awaitable):
        if isinstance(found, asyncio.Task):
            return found.get_coro()
        if isinstance(found, Coroutine | AsyncGenerator | Generator):
            return found
        if type(found).__name__ in WRAPPERS:
            return found
    return None


class Entry(_ConnectionRecord):
    """SQLAlchemy's record of a connection: until when it may live, and the checkout, one attribute away.

    `hold` is `spare_hold` while somebody has the connection, and None while nobody has.
    """

    __slots__ = ("expires_s", "generation", "hold", "spare_hold")

    def __init__(self, pool: Pool, limiter: Limiter, gate: ConnectionGate) -> None:
        self.spare_hold = Hold(limiter, gate)
        self.hold: Hold | None = None
        self.expires_s = math.inf
        self.generation = 0
        super().__init__(pool)


class HoldingPool(Protocol):
    """The pool, as those see it who look after its holders between the calls."""

    gate: ConnectionGate
    limiter: Limiter
    limits: Limits
    holds: dict[Entry, Hold]
    observed: bool
    address: str
    is_fixed: bool

    @property
    def logger(self) -> Any:
        """SQLAlchemy's logger of this pool."""

    def status(self) -> str:
        """The pool in words."""

    def checkedin(self) -> int:
        """How many connections are free."""

    def retire(self) -> Entry | None:
        """Take an idle connection out that is too old, or that nobody needed lately."""

    def warm(self) -> None:
        """Open one connection if fewer are open than are to be kept."""


def hold_of(proxied: Any) -> Hold | None:
    """The checkout behind a connection that SQLAlchemy handed out; None for one that is not ours.

    SQLAlchemy's public way there, `record_info`, is three calls; this is asked before every statement.
    """
    entry = getattr(proxied, "_connection_record", None)
    return entry.hold if type(entry) is Entry else None
