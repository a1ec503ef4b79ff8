"""Reply timeouts: how long a link waits, and whose fault it is when no reply comes."""

import asyncio
import copy
import operator
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from fluido.redis._adapter import Reply, Wire
from fluido.redis._bulk import only_reads_packed

# (position after a write, its commands, when; the packed commands, which futures are parts of a run)
Mark = tuple[int, int, float, list[bytes], frozenset["asyncio.Future[Reply]"]]

STALL_S = 0.02  # the first reply is awaited so long: then the others look for another way
STALL_ROUND_TRIPS = 4.0
MOST_STALL_S = 0.5
# uvloop runs timers before it reads: between two looks, what waits in the socket is read.
AGAIN_S = 0.005
HELD_S = 0.005  # a look that comes later than that was held up by this process, not by the server
LOOKS = 4.0  # at least so many looks a socket timeout: a loop that was held in between is seen
PATIENCE = 20  # socket timeouts that the callers behind a reply that keeps coming wait at most
_DONE = operator.methodcaller("done")


class Lost(Exception):
    """The result of a command whose link failed: set as a value, raised by nobody.

    error: what the caller should see. sent: whether the command may have reached the server.
    """

    def __init__(self, error: Exception, *, sent: bool) -> None:
        super().__init__(error)
        self.error = error
        self.sent = sent


class Elsewhere(Exception):
    """The link belongs to a loop that no longer runs."""


def copy_of(error: BaseException) -> Exception:
    """Another instance of the same error, without its traceback."""
    if not isinstance(error, Exception):
        return RuntimeError(repr(error))  # SystemExit and its like belong to the task that met them
    clone = copy.copy(error).with_traceback(None)
    clone.__cause__ = error.__cause__
    return clone


class Watched(Protocol):
    """The link, as far as its watch looks at it."""

    wire: Wire
    loop: asyncio.AbstractEventLoop
    clock: Callable[[], float]
    alive: bool
    retired: str | None
    granted: int
    pending: deque["asyncio.Future[Reply]"]
    marks: deque[Mark]
    answered: int
    heard_s: float
    awaited_s: float

    @property
    def is_large(self) -> bool:
        """Whether a large reply is on its way."""

    def retire(self, reason: str) -> None:
        """Take no more commands."""

    def fail(self, error: Exception) -> None:
        """Close now."""


class Owner(Protocol):
    """Who opened a link, and what the link tells it."""

    def on_room(self) -> None:
        """Replies have come and there may be room for callers that wait."""

    def on_flush(self, link: Any, commands: int, /) -> None:
        """So many commands left in one write."""

    def on_batch(self, link: Any, commands: int, sent_s: float, /) -> None:
        """The replies of a write that left at `sent_s` are complete."""

    def on_lost(self, link: Any, /) -> None:
        """The link is closed; its commands have got their results."""

    def on_stall(self, link: Any, /) -> bool:
        """The next reply does not come; whether commands that only read have another way."""

    def may_replace(self, link: Any, /) -> bool:
        """Whether another link may be opened in the place of one that is busy for long."""

    def on_large(self, name: str, key: bytes, /) -> None:
        """The reply to this command is large."""


class Watch:
    """One timer a link, and none for a command.

    Nothing heard for the socket timeout: the link is dead. The reply that is next keeps its caller longer
    than the socket timeout: that caller alone times out, as redis-py's would, and the link takes no new
    commands. The callers behind are not to blame: their commands did or will run, so they are not sent
    again; they wait while bytes come. Commands that only read may run twice: as soon as the next reply is
    held up they move to another link.

    A process that stands still (a busy machine, a long callback) is no silence of the server: `held_s` is how
    long it has stood still in all, and the link takes it off its times.
    """

    def __init__(self, link: Watched, owner: Owner) -> None:
        self.held_s = 0.0
        self._link = link
        self._owner = owner
        self._timer: asyncio.TimerHandle | None = None
        self._extra_s: float | None = 0.0
        self._usual_s = 0.0
        self._suspected = self._overdue = False
        self._due_s = 0.0

    def arm(self) -> None:
        """Commands were sent."""
        if self._timer is None:
            self._again(self._stall_s())

    def _again(self, pause_s: float) -> None:
        timeout_s = self._link.wire.timeout_s
        if timeout_s is not None:
            pause_s = max(min(pause_s, timeout_s / LOOKS), AGAIN_S)
        self._due_s = self._link.clock() + pause_s
        self._timer = self._link.loop.call_later(pause_s, self._look)

    def stop(self) -> None:
        """The link is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def allow_silence(self, extra_s: float | None) -> None:
        """Let the server be silent so much longer; None: for ever. Only a link that retires may wait so."""
        self._extra_s = extra_s

    def note(self, round_trip_s: float) -> None:
        """A write was answered."""
        self._usual_s += 0.1 * (round_trip_s - self._usual_s)

    def _stall_s(self) -> float:
        return max(STALL_S, min(STALL_ROUND_TRIPS * self._usual_s, MOST_STALL_S))

    def _look(self) -> None:
        self._timer = None
        link = self._link
        if not link.alive or not link.pending or not link.marks:
            return
        now_s = link.clock()
        late_s = now_s - self._due_s
        if late_s > HELD_S:
            self.held_s += late_s
        awake_s, was_overdue = now_s - self.held_s, self._overdue
        timeout_s = link.wire.timeout_s
        if timeout_s is not None and self._extra_s is not None:
            self._overdue = self._judge(awake_s, timeout_s + self._extra_s)
        if link.alive:
            pause_s = self._look_for_stall(awake_s) if self._extra_s == 0.0 else self._stall_s()
            self._again(pause_s if was_overdue == self._overdue else AGAIN_S)

    def _judge(self, now_s: float, timeout_s: float) -> bool:
        """Whether the next reply is overdue. At the second look it has consequences: before, it may wait in
        the socket."""
        link = self._link
        waited_s = now_s - link.awaited_s
        if waited_s < timeout_s or not self._overdue:
            return waited_s >= timeout_s
        if now_s - link.heard_s >= timeout_s:
            link.fail(link.wire.timeout_error())
            return True
        head = link.pending[0]
        if not head.done():
            head.set_result(Lost(link.wire.timeout_error(), sent=True))
            link.retire("late")
        if waited_s >= PATIENCE * timeout_s:
            link.fail(link.wire.timeout_error())
        elif link.retired is not None and not link.granted and all(map(_DONE, link.pending)):
            link.fail(link.wire.timeout_error())  # nobody waits for what is still to come
        return True

    def _look_for_stall(self, now_s: float) -> float:
        """Whether the next reply is held up; how long until the next look."""
        link = self._link
        stall_s = self._stall_s()
        left_s = link.awaited_s + stall_s - now_s
        if left_s > 0:
            self._suspected = False
            return max(left_s, STALL_S / 4)
        if not self._suspected:
            self._suspected = True
            return AGAIN_S
        if link.is_large:
            if link.retired is None and self._owner.may_replace(link):
                link.retire("a large reply")
            if link.retired is not None:
                self._move_reads(1)
        elif link.retired is None and self._owner.on_stall(link):
            self._move_reads(0)
        return stall_s

    def _move_reads(self, first: int) -> None:
        """Give the callers that only read their commands back, from the `first` on: they go elsewhere."""
        link = self._link
        position = link.answered
        futures = list(link.pending)
        for end, count, _, chunks, fixed in link.marks:
            for place, chunk in enumerate(chunks, start=end - count - position):
                if place < first or place >= len(futures):
                    continue
                future = futures[place]
                if not future.done() and future not in fixed and only_reads_packed(chunk):
                    future.set_result(Lost(link.wire.timeout_error(), sent=False))
