"""One write for many callers: what arrives while a write is under way forms the next one."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fluido.errors import BufferFull, Closed
from fluido.flow.bisect import Bisection, Write, never
from fluido.flow.obeyed import Obeyed
from fluido.laws.base import Law
from fluido.laws.batch_cap import BatchCap
from fluido.metrics import FlowStats, Histogram
from fluido.sample import Outcome, Sample

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Pending(Generic[Item, Result]):
    __slots__ = ("added_s", "bytes", "done", "item")

    def __init__(self, item: Item, size: int, added_s: float, done: "asyncio.Future[Result | None]") -> None:
        self.item = item
        self.bytes = size
        self.added_s = added_s
        self.done = done


def timeouts_overload(error: BaseException, /) -> Outcome:
    """The default classifier of a batch: one that took too long was too large; other errors say nothing."""
    return Outcome.OVERLOAD if isinstance(error, TimeoutError) else Outcome.IGNORED


class Batcher(Generic[Item, Result]):
    """`await batcher.add(item)` returns when the batch that carried the item was written.

    Natural batching: an idle lane writes at the end of this tick of the loop what is there, and there is no
    timer. With all `lanes` busy, arrivals wait, at most `max_pending`. A batch ends at the cap of the law, or
    before the item that would take it over `max_bytes` (an item that is larger goes alone).

    A caller that is cancelled before its write began takes its item back; later, the write goes on. `write`
    gets the items in order and answers one result for each, or None for all; what it raises, the callers get.
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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if max_pending < 1 or lanes < 1 or not max_bytes > 0:
            raise ValueError("max_pending, lanes and max_bytes must be above zero")
        self.name = name
        self.law = law or BatchCap()
        self.max_pending = max_pending
        self.lanes = lanes
        self.max_bytes = max_bytes
        self._obeyed = Obeyed(self.law)
        self.decisions = self._obeyed.log
        self._write = write
        self._size = size
        self._poisoned = poisoned
        self._classify = classify
        self._clock = clock
        self._pending: deque[_Pending[Item, Result]] = deque()
        self._waiting = 0
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._starting: asyncio.Task[None] | None = None
        self._admitted = self._refused = self._cancelled = self._overloads = 0
        self.batches = 0
        self.writes = 0
        self._wait = Histogram()
        self._service = Histogram()

    async def add(self, item: Item) -> Result | None:
        """Queue one item and wait for its result. Raises BufferFull at once when `max_pending` wait."""
        if self._closed:
            raise Closed(f"{self.name} is closed")
        if self._waiting >= self.max_pending:
            self._refused += 1
            raise BufferFull(f"{self._waiting} items wait in {self.name} already")
        done: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        size = self._size(item) if self._size else 0
        pending = _Pending(item, size, self._clock(), done)
        self._pending.append(pending)
        self._waiting += 1
        if self._starting is None and len(self._running) < self.lanes:
            self._start_lane()
        try:
            return await done
        except asyncio.CancelledError:
            # A lane that took the item has set `added_s` to NaN: from then on the write owns it.
            if not math.isnan(pending.added_s):
                self._waiting -= 1
                self._cancelled += 1
                self._forget()
            raise

    async def close(self) -> None:
        """Refuse newcomers and return when everything pending was written. Idempotent."""
        self._closed = True
        while self._running:
            await asyncio.wait(set(self._running))

    def stats(self) -> FlowStats:
        """The batcher at this moment: `inflight` is lanes at work, `completed` counts batches."""
        return FlowStats(
            name=self.name,
            kind=self.kind,
            law=self.law.name,
            value=self._obeyed.value,
            floor=self.law.floor,
            ceiling=self.law.ceiling,
            inflight=len(self._running),
            waiting=self._waiting,
            admitted=self._admitted,
            refused=self._refused,
            cancelled=self._cancelled,
            completed=self.batches,
            overloads=self._overloads,
            wait_ms_p50=self._wait.quantile(0.5) * 1e3,
            wait_ms_p99=self._wait.quantile(0.99) * 1e3,
            service_ms_p50=self._service.quantile(0.5) * 1e3,
            service_ms_p99=self._service.quantile(0.99) * 1e3,
            decisions=tuple(self.decisions),
            reasons=self.decisions.reasons,
        )

    # -- lanes --

    def _start_lane(self) -> None:
        # A task starts on the next tick: everything added during this one travels together.
        task = asyncio.get_running_loop().create_task(self._run_lane(), name=f"fluido-{self.name}")
        self._running.add(task)
        self._starting = task
        task.add_done_callback(self._lane_ended)

    def _lane_ended(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._starting is task:
            self._starting = None
        if not self._running and any(not pending.done.done() for pending in self._pending):
            # The lane was killed with callers in the queue: somebody has to write for them.
            self._start_lane()

    async def _run_lane(self) -> None:
        self._starting = None
        while batch := self._take():
            if self._waiting and len(self._running) < self.lanes:
                self._start_lane()
            await self._write_batch(batch)

    def _take(self) -> list[_Pending[Item, Result]]:
        cap = max(1, math.floor(self._obeyed.value))
        batch: list[_Pending[Item, Result]] = []
        room = self.max_bytes
        now_s = self._clock()
        while self._pending and len(batch) < cap:
            pending = self._pending[0]
            if pending.done.done():
                self._pending.popleft()
                continue
            if batch and pending.bytes > room:
                break
            self._pending.popleft()
            room -= pending.bytes
            self._waiting -= 1
            self._wait.record(now_s - pending.added_s)
            pending.added_s = math.nan
            batch.append(pending)
        self._admitted += len(batch)
        return batch

    async def _write_batch(self, batch: list[_Pending[Item, Result]]) -> None:
        cap = self._obeyed.value
        lanes = len(self._running)
        started_s = self._clock()
        bisection = Bisection(self._write, self._poisoned)
        outcome = Outcome.OK
        try:
            async for start, end, results, error in bisection.run([pending.item for pending in batch]):
                for index in range(start, end):
                    self._settle(batch[index], results[index - start] if results is not None else None, error)
                if error is not None:
                    outcome = self._classify(error)
        except BaseException:
            for pending in batch:
                if not pending.done.done():
                    pending.done.set_exception(Closed(f"{self.name} was cancelled during the write"))
            raise
        finally:
            self.batches += 1
            self.writes += bisection.writes
        if bisection.writes > 1:
            # A bisected batch took longer for a reason that is not its size.
            outcome = Outcome.IGNORED
        self._learn(
            Sample("", started_s, self._clock(), 0.0, lanes, cap, outcome, float(len(batch))),
        )

    def _settle(
        self, pending: _Pending[Item, Result], result: Result | None, error: Exception | None
    ) -> None:
        if pending.done.done():
            return
        if error is not None:
            pending.done.set_exception(error)
        else:
            pending.done.set_result(result)

    def _learn(self, sample: Sample) -> None:
        self._service.record(sample.service_s)
        if sample.outcome is Outcome.OVERLOAD:
            self._overloads += 1
        self._obeyed.observe(sample)

    def _forget(self) -> None:
        if len(self._pending) > 2 * self._waiting + 8:
            self._pending = deque(pending for pending in self._pending if not pending.done.done())
