"""The wait queue of every flow: each caller is granted, refused, timed out or cancelled, and that once.

A caller may be cancelled in the very tick in which it was granted something: it is given back then, and the
next one is served. Where a flow keeps callers waiting, that is written here and nowhere else.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from fluido._metrics import Meter
from fluido.errors import WaitTimeout

Wanted = TypeVar("Wanted")
Granted = TypeVar("Granted")


class Waiter(Generic[Wanted, Granted]):
    """One caller in a queue. `turn` is done when it was granted, refused, timed out or cancelled."""

    __slots__ = ("joined_s", "label", "order", "serial", "timer", "turn", "wanted")

    def __init__(
        self,
        turn: "asyncio.Future[Granted]",
        wanted: Wanted,
        order: "Order[Wanted, Granted]",
        *,
        label: str,
        serial: int,
        joined_s: float,
    ) -> None:
        self.turn = turn
        self.wanted = wanted
        self.order = order
        self.label = label
        self.serial = serial
        self.joined_s = joined_s
        self.timer: asyncio.TimerHandle | None = None


class Order(Protocol[Wanted, Granted]):
    """Who is served next. It keeps waiters and settles none."""

    @property
    def live(self) -> int:
        """How many did not leave yet."""

    def join(self, waiter: Waiter[Wanted, Granted], /) -> None:
        """Take a newcomer."""

    def leave(self, waiter: Waiter[Wanted, Granted], /) -> None:
        """`waiter` no longer waits, whatever the reason; once per waiter."""

    def head(self) -> Waiter[Wanted, Granted] | None:
        """Whose turn it is, or None."""

    def everybody(self) -> list[Waiter[Wanted, Granted]]:
        """Who still waits, in order."""


class ByArrival(Generic[Wanted, Granted]):
    """First in, first out. Leavers stay in the deque until they are the majority: O(1) each, amortised.

    `live` includes a cancelled caller until its task has run.
    """

    __slots__ = ("_waiters", "live")

    def __init__(self) -> None:
        self._waiters: deque[Waiter[Wanted, Granted]] = deque()
        self.live = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, waiter: Waiter[Wanted, Granted], /) -> None:
        """Go to the end."""
        self._waiters.append(waiter)
        self.live += 1

    def leave(self, _waiter: Waiter[Wanted, Granted], /) -> None:
        """Wait no more."""
        self.live -= 1
        if len(self._waiters) > 2 * self.live + 8:
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.turn.done())

    def head(self) -> Waiter[Wanted, Granted] | None:
        """Who came first."""
        waiters = self._waiters
        while waiters:
            if not waiters[0].turn.done():
                return waiters[0]
            waiters.popleft()
        return None

    def everybody(self) -> list[Waiter[Wanted, Granted]]:
        """Who still waits, by arrival."""
        return [waiter for waiter in self._waiters if not waiter.turn.done()]


class ByTurns(Generic[Wanted, Granted]):
    """One line a label, first in, first out, and the labels take turns: a burst under one passes nobody."""

    __slots__ = ("_lines", "live")

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[int, Waiter[Wanted, Granted]]] = OrderedDict()
        self.live = 0

    def join(self, waiter: Waiter[Wanted, Granted], /) -> None:
        """Go to the end of the line of that label."""
        self._lines.setdefault(waiter.label, OrderedDict())[waiter.serial] = waiter
        self.live += 1

    def leave(self, waiter: Waiter[Wanted, Granted], /) -> None:
        """Wait no more. Where it was served, the next turn is another label's."""
        self.live -= 1
        line = self._lines.get(waiter.label)
        if line is not None:
            line.pop(waiter.serial, None)
            if not line:
                del self._lines[waiter.label]
            elif not waiter.turn.cancelled():
                self._lines.move_to_end(waiter.label)

    def head(self) -> Waiter[Wanted, Granted] | None:
        """The first of the label whose turn it is."""
        while self._lines:
            label, line = next(iter(self._lines.items()))
            while line:
                serial, waiter = next(iter(line.items()))
                if not waiter.turn.done():
                    return waiter
                del line[serial]
            del self._lines[label]
        return None

    def everybody(self) -> list[Waiter[Wanted, Granted]]:
        """Who still waits, label by label."""
        waiters = (waiter for line in self._lines.values() for waiter in line.values())
        return [waiter for waiter in waiters if not waiter.turn.done()]


class WaitQueue(Generic[Wanted, Granted]):
    """Callers that wait for something that their flow grants, in one order or in several.

    The flow decides whom to serve (`order.head()`) and calls `grant` or `refuse`. It is told through
    `give_back` that a waiter that was granted something is gone, and through `hand_over` that one left the
    queue: what was kept for it may fit the next. `what` is what a caller waits for, in words.
    """

    __slots__ = ("_clock", "_give_back", "_hand_over", "_meter", "_serials", "_what", "waiting")

    def __init__(
        self,
        what: str,
        meter: Meter,
        clock: Callable[[], float],
        *,
        give_back: Callable[[Waiter[Wanted, Granted]], None],
        hand_over: Callable[[], None],
    ) -> None:
        self._what = what
        self._meter = meter
        self._clock = clock
        self._give_back = give_back
        self._hand_over = hand_over
        self._serials = 0
        self.waiting = 0

    async def wait(
        self,
        order: Order[Wanted, Granted],
        wanted: Wanted,
        *,
        label: str = "",
        deadline_s: float | None = None,
    ) -> Granted:
        """Stand in line until the flow grants something, which is the caller's then.

        Raises WaitTimeout at `deadline_s` on the flow's clock, and what the flow refuses with.
        """
        loop = asyncio.get_running_loop()
        joined_s = self._clock()
        self._serials += 1
        waiter: Waiter[Wanted, Granted] = Waiter(
            loop.create_future(), wanted, order, label=label, serial=self._serials, joined_s=joined_s
        )
        if deadline_s is not None:
            waiter.timer = loop.call_later(deadline_s - joined_s, self._expire, waiter)
        order.join(waiter)
        self.waiting += 1
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            self._meter.cancelled += 1
            if waiter.turn.cancelled():
                self._leave(waiter)
                # What was given back between the cancellation and this line found no live waiter, and who
                # came after it queued behind us.
                self._hand_over()
            elif waiter.turn.exception() is None:
                # Granted and cancelled in the same tick: it is ours to pass on.
                self._give_back(waiter)
            raise
        except GeneratorExit:
            # The loop was closed over us, and nobody will ever resume this.
            if not waiter.turn.done():
                self._meter.cancelled += 1
                self.drop(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self._give_back(waiter)
            raise

    def grant(self, waiter: Waiter[Wanted, Granted], granted: Granted) -> None:
        """It gets what it waits for; the flow has counted it already as handed out."""
        waiter.turn.set_result(granted)
        # As _leave(): a call less, once a waiter.
        self.waiting -= 1
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiter.order.leave(waiter)

    def refuse(self, waiter: Waiter[Wanted, Granted], error: Exception) -> None:
        """It waits in vain."""
        waiter.turn.set_exception(error)
        self._leave(waiter)

    def drop(self, waiter: Waiter[Wanted, Granted]) -> None:
        """Its loop is closed: nobody is told, but who looks at the queue must not find it again."""
        with suppress(RuntimeError):
            waiter.turn.cancel()
        self._leave(waiter)

    def _expire(self, waiter: Waiter[Wanted, Granted]) -> None:
        if not waiter.turn.done():
            self._meter.timed_out += 1
            waited_s = self._clock() - waiter.joined_s
            self.refuse(waiter, WaitTimeout(f"waited {waited_s:.3f} s for {self._what}", waited_s=waited_s))
            self._hand_over()

    def _leave(self, waiter: Waiter[Wanted, Granted]) -> None:
        self.waiting -= 1
        if waiter.timer is not None:
            waiter.timer.cancel()
        waiter.order.leave(waiter)
