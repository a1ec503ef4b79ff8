"""Request coalescing (group commit): what arrives while a write is under way forms the next one."""

import asyncio
import contextvars
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from fluido._metrics import FlowStats, Meter
from fluido._sample import Outcome, Sample
from fluido.errors import BufferFull, Closed
from fluido.flow._bisect import Bisection, Held, Refused, Write, never
from fluido.flow._obeyed import Obeyed
from fluido.laws._base import Law
from fluido.laws._batch_cap import BatchCap

Item = TypeVar("Item")
Result = TypeVar("Result")
Context = contextvars.Context

MOST_GROUPS_AT_WORK = 8  # lanes for groups that cannot be written together
MOST_OVERDUE = 8  # lanes beside those that wait for something
MOST_ALONE = 4  # lanes for items that were held up
_NOBODY = object()


class _Waiter(Generic[Item, Result]):
    """One caller and its item. Once a lane has `taken` it, the write owns it."""

    __slots__ = ("added_s", "bytes", "context", "done", "group", "item", "taken")

    def __init__(self, item: Item, size: int, added_s: float, done: "asyncio.Future[Result | None]") -> None:
        self.item = item
        self.bytes = size
        self.added_s = added_s
        self.done = done
        self.group: Hashable = None
        self.context: Context | None = None
        self.taken = False


class _Lane:
    """One writer at work: on which group, since when, and whether it is overdue."""

    __slots__ = ("group", "overdue", "started_s")

    def __init__(self) -> None:
        self.group: Hashable = None
        self.started_s = math.inf
        self.overdue = False


def timeouts_overload(error: BaseException, /) -> Outcome:
    """The default classifier of a batch: one that took too long was too large; other errors say nothing."""
    return Outcome.OVERLOAD if isinstance(error, TimeoutError) else Outcome.IGNORED


class Batcher(Generic[Item, Result]):
    """`await batcher.add(item)` returns when the batch that carried the item was written.

    Natural batching: an idle lane writes at the end of this tick of the loop what is there, and there is no
    timer. With all `lanes` busy, arrivals wait, at most `max_pending`. A batch ends at the cap of the law, or
    before the item that would take it over `max_bytes` (an item that is larger goes alone).

    A caller that is cancelled before its write began takes its item back; later, the write goes on. `write`
    gets the items in order and answers one result for each, or None for all; what it raises, the callers
    get. In the place of a result it may answer `Refused`, or `Held`: that item is written alone, beside the
    others.
    Writes run in the context variables of the batcher's construction, or where `surround` puts them.

    `origin` answers, in the caller's context, a group and a context: only items of one group travel together.
    A lane that writes longer than `patience_s` is overdue: while somebody waits, another one opens beside it.
    """

    kind = "batcher"

    def __init__(
        self,
        write: Write[Item, Result],
        *,
        name: str,
        max_pending: int,
        lanes: int = 1,
        law: Law | None = None,
        max_bytes: float = math.inf,
        size: Callable[[Item], int] | None = None,
        poisoned: Callable[[BaseException], bool] = never,
        classify: Callable[[BaseException], Outcome] = timeouts_overload,
        origin: Callable[[Item], tuple[Hashable, Context | None]] | None = None,
        surround: Callable[[Context | None], Context] | None = None,
        patience_s: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if max_pending < 1 or lanes < 1 or not max_bytes > 0 or not patience_s > 0:
            raise ValueError("max_pending, lanes, max_bytes and patience_s must be above zero")
        self.name = name
        self.law = law or BatchCap()
        self.max_pending = max_pending
        self.lanes = lanes
        self.max_bytes = max_bytes
        self.patience_s = patience_s
        self._obeyed = Obeyed(self.law)
        self.decisions = self._obeyed.log
        self._write = write
        self._size = size
        self._poisoned = poisoned
        self._classify = classify
        self._origin = origin
        own = contextvars.copy_context()
        self._surround = surround or (lambda _caller: own.copy())
        self._clock = clock
        self._queues: dict[Hashable, deque[_Waiter[Item, Result]]] = {}
        self._waiting = 0
        self._gone = 0  # cancelled, still in a queue
        self._running: dict[asyncio.Task[None], _Lane] = {}
        self._at_work: dict[Hashable, int] = {}  # lanes of a group that are not overdue
        self._held: deque[_Waiter[Item, Result]] = deque()
        self._alone: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._starting: asyncio.Task[None] | None = None
        self.meter = Meter(name, self.kind)
        self.writes = 0

    async def add(self, item: Item) -> Result | None:
        """Queue one item and wait for its result. Raises BufferFull at once when `max_pending` wait."""
        if self._closed:
            raise Closed(f"{self.name} is closed")
        if self._waiting >= self.max_pending:
            self.meter.refused += 1
            raise BufferFull(f"{self._waiting} items wait in {self.name} already (max_pending)")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        done: asyncio.Future[Result | None] = loop.create_future()
        size = self._size(item) if self._size else 0
        pending = _Waiter(item, size, self._clock(), done)
        if self._origin is not None:
            pending.group, pending.context = self._origin(item)
        queue = self._queues.get(pending.group)
        if queue is None:
            queue = self._queues[pending.group] = deque()
        queue.append(pending)
        self._waiting += 1
        self._open()
        try:
            return await done
        except asyncio.CancelledError:
            if not pending.taken:
                self._waiting -= 1
                self.meter.cancelled += 1
                self._gone += 1
                self._forget()
            raise

    @property
    def batches(self) -> int:
        """How many batches were written, or failed."""
        return self.meter.completed

    async def close(self) -> None:
        """Refuse newcomers and return when everything pending was written. Idempotent."""
        self._closed = True
        self._move_to(asyncio.get_running_loop())
        while tasks := {*self._running, *self._alone}:
            await asyncio.wait(tasks)

    def stats(self) -> FlowStats:
        """The batcher at this moment: `inflight` is lanes at work, `completed` counts batches."""
        return self.meter.stats(
            self.law,
            self.decisions,
            self.decisions.reasons,
            value=self._obeyed.value,
            inflight=len(self._running) + len(self._alone),
            waiting=self._waiting + len(self._held),
        )

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget what a loop that has ended left: its timer, its lanes, and who waited there."""
        before, self._loop = self._loop, loop
        if before is None or before is loop:
            return
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not before.is_closed():
            return
        for task in [task for task in self._running if task.get_loop() is before]:
            lane = self._running.pop(task)
            if lane.started_s < math.inf and not lane.overdue:
                self._leave(lane)
            lane.overdue = True  # the collector may end its task later
            if task is self._starting:
                self._starting = None
        self._alone = {task for task in self._alone if task.get_loop() is not before}
        self._held = deque(pending for pending in self._held if pending.done.get_loop() is not before)
        self._keep(lambda pending: pending.done.get_loop() is not before and not pending.done.done())

    # -- lanes --

    def _open(self) -> None:
        """Start a lane if somebody waits whom none of those at work will take, or look again later."""
        if self._starting is not None or not self._waiting:
            return
        if self._next_group() is not _NOBODY:
            # A task starts on the next tick: everything added during this one travels together.
            lane = _Lane()
            task = asyncio.get_running_loop().create_task(
                self._run_lane(lane), name=f"fluido-{self.name}", context=self._surround(None)
            )
            self._running[task] = lane
            self._starting = task
            task.add_done_callback(self._lane_ended)
        elif self._watch is None and self.patience_s < math.inf:
            self._watch = asyncio.get_running_loop().call_later(self.patience_s, self._look_after)

    def _next_group(self) -> Hashable:
        """The group to be served next; _NOBODY when all that wait have a lane, or no more may open."""
        if len(self._at_work) < MOST_GROUPS_AT_WORK:
            at_work = self._at_work
            for group, queue in self._queues.items():
                if at_work.get(group, 0) < self.lanes and any(not one.done.done() for one in queue):
                    return group
            return _NOBODY
        for group, lanes in self._at_work.items():
            if lanes < self.lanes and any(not one.done.done() for one in self._queues.get(group, ())):
                return group
        return _NOBODY

    def _look_after(self) -> None:
        self._watch = None
        latest_s = self._clock() - self.patience_s + 1e-6
        overdue = sum(lane.overdue for lane in self._running.values())
        for lane in self._running.values():
            if not lane.overdue and lane.started_s <= latest_s and overdue < MOST_OVERDUE:
                overdue += 1
                lane.overdue = True
                self._leave(lane)
        self._open()
        if self._waiting and self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self.patience_s, self._look_after)

    def _leave(self, lane: _Lane) -> None:
        """The lane no longer counts: others may serve its group."""
        left = self._at_work[lane.group] - 1
        if left:
            self._at_work[lane.group] = left
        else:
            del self._at_work[lane.group]

    def _lane_ended(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]
        if self._starting is task:
            self._starting = None
        # The lane may have been killed with callers in the queue: somebody has to write for them.
        self._open()

    async def _run_lane(self, lane: _Lane) -> None:
        self._starting = None
        while not lane.overdue and (group := self._next_group()) is not _NOBODY:
            batch = self._take(group)
            lane.group = group
            lane.started_s = self._clock()
            self._at_work[group] = self._at_work.get(group, 0) + 1
            try:
                self._open()
                if batch[0].context is None:
                    await self._write_batch(batch)
                else:
                    # In the variables of its own callers, which are alike.
                    await asyncio.get_running_loop().create_task(
                        self._write_batch(batch), context=self._surround(batch[0].context)
                    )
            finally:
                if not lane.overdue:
                    lane.started_s = math.inf
                    self._leave(lane)

    def _take(self, group: Hashable) -> list[_Waiter[Item, Result]]:
        cap = max(1, math.floor(self._obeyed.value))
        batch: list[_Waiter[Item, Result]] = []
        room = self.max_bytes
        now_s = self._clock()
        queue = self._queues.pop(group)
        while queue and len(batch) < cap:
            pending = queue[0]
            if pending.done.done():
                queue.popleft()
                self._gone -= 1
                continue
            if batch and pending.bytes > room:
                break
            queue.popleft()
            room -= pending.bytes
            self.meter.waits.record(now_s - pending.added_s)
            pending.taken = True
            batch.append(pending)
        if queue:
            self._queues[group] = queue  # behind the other groups
        self._waiting -= len(batch)
        self.meter.admitted += len(batch)
        return batch

    async def _write_batch(self, batch: list[_Waiter[Item, Result]]) -> None:
        cap = self._obeyed.value
        lanes = len(self._running)
        started_s = self._clock()
        bisection = Bisection(self._write, self._poisoned)
        outcome = Outcome.OK
        try:
            async for start, end, results, error in bisection.run([pending.item for pending in batch]):
                if error is not None:
                    outcome = self._classify(error)
                    for pending in batch[start:end]:
                        _fail(pending, error)
                elif self._settle(batch[start:end], results):
                    # Its time says something about what was refused, not about its size.
                    outcome = Outcome.IGNORED
        except GeneratorExit:
            raise  # the loop was closed over us, and nobody can be told
        except BaseException:
            for pending in batch:
                _fail(pending, Closed(f"{self.name} was cancelled during the write"))
            raise
        finally:
            self.meter.completed += 1
            self.writes += bisection.writes
        if bisection.writes > 1:
            # A bisected batch took longer for a reason that is not its size.
            outcome = Outcome.IGNORED
        self._learn(
            Sample("", started_s, self._clock(), 0.0, lanes, cap, outcome, float(len(batch))),
        )

    def _settle(
        self,
        batch: list[_Waiter[Item, Result]],
        results: Sequence[Result | Refused | Held | None] | None,
    ) -> bool:
        """Give each caller its result; True when some were refused or held up."""
        if results is None:
            for pending in batch:
                if not pending.done.done():
                    pending.done.set_result(None)
            return False
        strange = False
        for pending, result in zip(batch, results, strict=True):
            if isinstance(result, Refused):
                strange = True
                _fail(pending, result.error)
            elif isinstance(result, Held):
                strange = True
                self._held.append(pending)
            elif not pending.done.done():
                pending.done.set_result(result)
        self._open_alone()
        return strange

    def _open_alone(self) -> None:
        while self._held and len(self._alone) < MOST_ALONE:
            pending = self._held.popleft()
            if pending.done.done():  # its caller was cancelled
                continue
            task = asyncio.get_running_loop().create_task(
                self._write_alone(pending),
                name=f"fluido-{self.name}-alone",
                context=self._surround(pending.context),
            )
            self._alone.add(task)
            task.add_done_callback(self._alone_ended)

    def _alone_ended(self, task: "asyncio.Task[None]") -> None:
        self._alone.discard(task)
        self._open_alone()

    async def _write_alone(self, pending: _Waiter[Item, Result]) -> None:
        try:
            self._settle([pending], await self._write([pending.item]))
        except Exception as error:  # noqa: BLE001  (whatever the caller's write raises belongs to the item)
            _fail(pending, error)
        except GeneratorExit:
            raise  # as above
        except BaseException:
            _fail(pending, Closed(f"{self.name} was cancelled during the write"))
            raise
        finally:
            self.writes += 1

    def _learn(self, sample: Sample) -> None:
        self.meter.services.record(sample.service_s)
        if sample.outcome is Outcome.OVERLOAD:
            self.meter.overloads += 1
        self._obeyed.observe(sample)

    def _forget(self) -> None:
        if self._gone > self._waiting + 8:
            self._keep(lambda pending: not pending.done.done())

    def _keep(self, waits: Callable[[_Waiter[Item, Result]], bool]) -> None:
        kept = {group: deque(filter(waits, queue)) for group, queue in self._queues.items()}
        self._queues = {group: queue for group, queue in kept.items() if queue}
        self._waiting = sum(map(len, self._queues.values()))
        self._gone = 0


def _fail(pending: _Waiter[Item, Result], error: Exception) -> None:
    if not pending.done.done():
        pending.done.set_exception(error)
