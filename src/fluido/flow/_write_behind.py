"""Write-behind buffer: collected for a little while, written together, never dropped in silence."""

import asyncio
import contextvars
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from fluido._metrics import FlowStats, Meter
from fluido._sample import Outcome, Sample
from fluido.errors import BufferFull, Closed
from fluido.flow._bisect import Bisection, Buffered, Context, Held, Refused, Write, never
from fluido.flow._obeyed import Obeyed
from fluido.flow._waiting import ByArrival, WaitQueue
from fluido.laws._base import Law
from fluido.laws._batch_cap import BatchCap

Item = TypeVar("Item")

FIRST_BACK_OFF_S = 0.1
LONGEST_BACK_OFF_S = 5.0
SAY_EVERY_S = 60.0
log = logging.getLogger("fluido.flow.write_behind")


def log_rejected(items: Sequence[object], error: BaseException) -> None:
    """The default for items that cannot be written: say how many, never what they hold."""
    log.error("%d items could not be written: %s", len(items), type(error).__name__)


class WriteBehind(Generic[Item]):
    """`await behind.put(item)` returns at once, and blocks only while the buffer is full.

    A batch is written when its oldest item is `staleness_s` old, the cap of the law is reached, or
    `max_bytes` are buffered; larger is cheaper, so there is no law for the delay. A failed batch stays in
    front, in order, and is tried again after 0.1 s, doubling to 5 s, with jitter and half the cap; the log
    says so once a minute. Items that `poisoned` blames, or that `write` answers `Refused` for, go to
    `rejected`, as does what `close()` could not write in its time (a write that it cut short may have
    arrived). An item answered `Held` waits at the side and is written alone. An empty buffer arms no timer.

    Writes run in the context variables of the construction, or where `surround` puts them. `origin` answers,
    in the caller's, a group and a context: only items of one group are written together.
    """

    kind = "write_behind"

    def __init__(
        self,
        write: Write[Item, object],
        *,
        name: str,
        max_pending: int,
        max_bytes: float = 64 * 2**20,
        max_waiting: int = 1024,
        size: Callable[[Item], int] | None = None,
        law: Law | None = None,
        staleness_s: float = 0.1,
        poisoned: Callable[[BaseException], bool] = never,
        rejected: Callable[[Sequence[Item], BaseException], None] = log_rejected,
        origin: Callable[[Item], tuple[Hashable, Context | None]] | None = None,
        surround: Callable[[Context | None], Context] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if max_pending < 1 or max_waiting < 0 or not max_bytes > 0 or not 0 <= staleness_s < math.inf:
            raise ValueError("max_pending, max_bytes must be above zero, staleness_s finite and not negative")
        self.name = name
        self.law = law or BatchCap()
        self.max_pending = max_pending
        self.max_bytes = max_bytes
        self.max_waiting = max_waiting
        self.staleness_s = staleness_s
        self._write = write
        self._size = size
        self._poisoned = poisoned
        self._rejected = rejected
        self._clock = clock
        self._jitter = jitter
        self._obeyed = Obeyed(self.law)
        self._origin = origin
        own = contextvars.copy_context()
        self._surround = surround or (lambda _caller: own.copy())
        self._items: deque[Buffered[Item]] = deque()
        self._held: deque[Buffered[Item]] = deque()
        self._aside: asyncio.Task[None] | None = None
        self._bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry_to = 0
        self._placed = 0
        self._closed = False
        self._said_s = -math.inf
        self._failing = False
        self.rejected_items = 0
        self.meter = Meter(name, self.kind)
        self._line: ByArrival[Buffered[Item], None] = ByArrival()
        self._queue: WaitQueue[Buffered[Item], None] = WaitQueue(
            f"room in {name}",
            self.meter,
            clock,
            give_back=lambda _waiter: None,  # its item was accepted, and cannot be taken back
            hand_over=self._admit_waiting,
        )

    def offer(self, item: Item) -> None:
        """Buffer an item without waiting; raises BufferFull when there is no room, Closed after `close()`."""
        self._come()
        self._offer(item)

    def _offer(self, item: Item) -> None:
        if self._closed:
            raise Closed(f"{self.name} is closed")
        if self._queue.waiting or not self._has_room():
            self.meter.refused += 1
            raise BufferFull(
                f"{len(self._items)} items ({self._bytes} bytes) wait in {self.name}, whose max_pending is "
                f"{self.max_pending} and max_bytes {self.max_bytes}"
            )
        self._accept(self._entry(item))

    async def put(self, item: Item) -> None:
        """Buffer an item, waiting for room in order. BufferFull when `max_waiting` others wait for it too.

        A caller cancelled in the tick in which its item was accepted cannot take it back.
        """
        self._come()
        if self._closed or (self._has_room() and not self._queue.waiting):
            self._offer(item)
            return
        if self._queue.waiting >= self.max_waiting:
            self.meter.refused += 1
            raise BufferFull(f"{self._queue.waiting} callers wait for room in {self.name} (max_waiting)")
        await self._queue.wait(self._line, self._entry(item))

    async def flush(self) -> None:
        """Write what is buffered now without waiting for its time; return when that is done."""
        self._come()
        goal = self.meter.admitted
        self._hurry_to = max(self._hurry_to, goal)
        self._wake.set()
        self._go_on()
        while (self._placed < goal and self._worker is not None) or self._aside is not None:
            self._progress.clear()
            await self._progress.wait()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Refuse newcomers, write what is there for at most `timeout_s`, reject the rest. Idempotent."""
        self._closed = True
        self._come()
        for waiter in self._line.everybody():
            self._queue.refuse(waiter, Closed(f"{self.name} was closed"))
        try:
            async with asyncio.timeout(timeout_s):
                await self.flush()
        except TimeoutError:
            pass
        finally:
            for task in (self._worker, self._aside):
                if task is not None:
                    task.cancel()
            self._give_up()

    @property
    def failures(self) -> int:
        """How many writes failed and were tried again."""
        return self.meter.overloads

    def stats(self) -> FlowStats:
        """The buffer at this moment: `waiting` items, `completed` batches, `overloads` failed writes."""
        log = self._obeyed.log
        return self.meter.stats(
            self.law,
            log,
            log.reasons,
            value=self._obeyed.value,
            inflight=int(self._worker is not None),
            waiting=len(self._items) + len(self._held) + self._queue.waiting,
        )

    def learn(self, sample: Sample) -> None:
        """Tell the law of a write that somebody else made: `units` is its rows, `limit` the cap it had."""
        self._obeyed.observe(sample)

    # -- the buffer --

    def _has_room(self) -> bool:
        return len(self._items) + len(self._held) < self.max_pending and self._bytes < self.max_bytes

    def _entry(self, item: Item) -> Buffered[Item]:
        size = self._size(item) if self._size else 0
        return Buffered(item, size, self._origin(item) if self._origin else (None, None))

    def _accept(self, entry: Buffered[Item]) -> None:
        entry.added_s = self._clock()
        self._items.append(entry)
        self._bytes += entry.bytes
        self.meter.admitted += 1
        if self._worker is None:
            self._start()
        elif self._is_full():
            self._wake.set()

    def _is_full(self) -> bool:
        return len(self._items) >= min(self._obeyed.value, self.max_pending) or self._bytes >= self.max_bytes

    def _admit_waiting(self) -> None:
        while self._has_room() and (waiter := self._line.head()) is not None:
            self._accept(waiter.wanted)
            self._queue.grant(waiter, None)

    def _give_up(self) -> None:
        left = [entry.item for entry in (*self._held, *self._items)]
        self._held.clear()
        self._items.clear()
        self._bytes = 0
        if left:
            self._reject(left, Closed(f"{self.name} was closed"))

    def _reject(self, items: Sequence[Item], error: BaseException) -> None:
        self.rejected_items += len(items)
        try:
            self._rejected(items, error)
        except Exception:
            log.exception("the callback for rejected items failed")

    def _come(self) -> None:
        """In another loop than before: go on with what one that has ended left under way."""
        loop, before = asyncio._get_running_loop(), self._loop
        if loop is before or loop is None:
            return
        self._loop = loop
        if before is None:
            return
        if before.is_closed():  # nobody is told of the tasks that it was closed over
            self._worker = self._aside = None
            for waiter in self._line.everybody():
                if waiter.turn.get_loop() is before:
                    self._queue.drop(waiter)
        if self._worker is None and self._aside is None:
            self._wake, self._progress = asyncio.Event(), asyncio.Event()
            self._go_on()

    def _go_on(self) -> None:
        """Write what is there, if nobody does: a loop may have ended over it."""
        if self._items and self._worker is None:
            self._start()
        if self._held and self._aside is None:
            self._start_aside()

    # -- the worker: exists while the buffer is not empty --

    def _start(self) -> None:
        self._worker = asyncio.get_running_loop().create_task(
            self._run(), name=f"fluido-{self.name}", context=self._surround(None)
        )
        self._worker.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._worker = None
        self._progress.set()
        if self._items and not task.cancelled():
            self._start()

    async def _run(self) -> None:
        back_off_s = 0.0
        while self._items:
            await self._until_due(back_off_s)
            if await self._write_one_batch():
                back_off_s = 0.0
            else:
                back_off_s = min(LONGEST_BACK_OFF_S, max(FIRST_BACK_OFF_S, 2 * back_off_s))

    async def _until_due(self, back_off_s: float) -> None:
        if back_off_s:
            await asyncio.sleep(back_off_s * (0.5 + self._jitter()))
            return
        self._wake.clear()
        left_s = self._items[0].added_s + self.staleness_s - self._clock()
        if self._placed < self._hurry_to or self._is_full() or left_s <= 0:
            return
        timer = asyncio.get_running_loop().call_later(left_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    async def _write_one_batch(self) -> bool:
        """True when every item of it found its place: stored, held up at the side, or rejected as poison."""
        cap = self._obeyed.value
        entries = self._next_batch(max(1, math.floor(cap)))
        if entries[0].context is None:
            return await self._write_entries(entries, cap)
        return await asyncio.get_running_loop().create_task(
            self._write_entries(entries, cap), context=self._surround(entries[0].context)
        )

    def _next_batch(self, most: int) -> list[Buffered[Item]]:
        entries: list[Buffered[Item]] = []
        for entry in self._items:
            if len(entries) == most or (entries and entry.group != entries[0].group):
                break
            entries.append(entry)
        return entries

    async def _write_entries(self, entries: list[Buffered[Item]], cap: float) -> bool:
        items = [entry.item for entry in entries]
        started_s = self._clock()
        bisection = Bisection(self._write, self._poisoned)
        outcome = Outcome.OK
        async for start, end, results, error in bisection.run(items):
            if error is not None and not self._poisoned(error):
                self.meter.overloads += 1
                outcome = Outcome.OVERLOAD
                self._say(error)
                break
            verdicts = [Refused(error)] * (end - start) if error is not None else results
            if not self._settled(entries[start:end], verdicts, started_s):
                outcome = Outcome.IGNORED
        finished_s = self._clock()
        self.meter.completed += 1
        self.meter.services.record(finished_s - started_s)
        if bisection.writes == 1:
            self._obeyed.observe(Sample("", started_s, finished_s, 0.0, 1, cap, outcome, float(len(items))))
        self._admit_waiting()
        self._progress.set()
        return outcome is not Outcome.OVERLOAD

    def _settled(
        self, entries: Sequence[Buffered[Item]], verdicts: Sequence[object] | None, started_s: float
    ) -> bool:
        """Take written entries from the front; True when all of them were stored."""
        if not self._items:  # close() gave up meanwhile
            return True
        refused: list[tuple[Item, Exception]] = []
        held = 0
        for index, entry in enumerate(entries):
            self._items.popleft()
            verdict = verdicts[index] if verdicts is not None else None
            if isinstance(verdict, Held):
                held += 1
                self._held.append(entry)
                continue
            self._placed += 1
            self._bytes -= entry.bytes
            self.meter.waits.record(started_s - entry.added_s)
            if isinstance(verdict, Refused):
                refused.append((entry.item, verdict.error))
        for item, error in refused:
            self._reject([item], error)
        if self._held and self._aside is None:
            self._start_aside()
        if self._failing:
            self._failing = False
            log.info("%s writes again", self.name)
        return not refused and not held

    def _say(self, error: Exception) -> None:
        self._failing = True
        now_s = self._clock()
        if now_s - self._said_s >= SAY_EVERY_S:
            self._said_s = now_s
            waiting, reason = len(self._items) + len(self._held), str(error).partition("\n")[0]
            says = "%s cannot write, %d items wait and are tried again: %s: %s"
            log.warning(says, self.name, waiting, type(error).__name__, reason)

    # -- what was held up: written at the side, one after the other --

    def _start_aside(self) -> None:
        self._aside = asyncio.get_running_loop().create_task(
            self._write_held(), name=f"fluido-{self.name}-aside", context=self._surround(None)
        )
        self._aside.add_done_callback(self._aside_ended)

    def _aside_ended(self, _task: "asyncio.Task[None]") -> None:
        self._aside = None
        self._progress.set()

    async def _write_held(self) -> None:
        back_off_s = 0.0
        while self._held:
            if back_off_s:
                await asyncio.sleep(back_off_s * (0.5 + self._jitter()))
            entry = self._held[0]
            try:
                verdict: object = await asyncio.get_running_loop().create_task(
                    self._write_alone(entry.item), context=self._surround(entry.context)
                )
            except Exception as error:  # noqa: BLE001  (whatever the caller's write raises belongs to the item)
                if not self._poisoned(error):
                    self.meter.overloads += 1
                    self._say(error)
                    back_off_s = min(LONGEST_BACK_OFF_S, max(FIRST_BACK_OFF_S, 2 * back_off_s))
                    continue
                verdict = Refused(error)
            back_off_s = 0.0
            if not self._held:  # close() gave up meanwhile
                return
            self._held.popleft()
            self._placed += 1
            self._bytes -= entry.bytes
            if isinstance(verdict, Refused):
                self._reject([entry.item], verdict.error)
            self._admit_waiting()

    async def _write_alone(self, item: Item) -> object:
        results = await self._write([item])
        return results[0] if isinstance(results, Sequence) else None
