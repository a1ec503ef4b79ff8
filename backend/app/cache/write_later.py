"""Writes to the cache that nobody waits for: of each key only the newest value."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

from fluido import FlowStats, WriteBehind
from fluido.errors import BufferFull, Closed
from fluido.laws import Fixed

Value = TypeVar("Value")
CLOSE_S = 1.0


class Target(Protocol):
    """A cache that takes many values at once and answers how many it stored; it never raises."""

    async def batch_set(self, entries: Iterable[tuple[str, Any]]) -> int: ...


class WriteLater(Generic[Value]):
    """A value is written at the latest `staleness_s` (may be changed) after it came, `batch` of them at once.

    While one waits, a newer one of its key takes its place. A value is formed when it is written, so what
    was replaced costs nothing. At most `max_pending` keys wait; above that, and where the cache does not take
    a value, it is dropped and counted: it is only a copy. The buffer itself is `WriteBehind`, of keys.
    """

    def __init__(
        self,
        target: Target,
        *,
        form: Callable[[Value], Any],
        name: str,
        max_pending: int,
        batch: int,
        staleness_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._target = target
        self._form = form
        self._clock = clock
        self._pending: dict[str, Value] = {}
        self._keys = WriteBehind(
            self._write,
            name=name,
            max_pending=max_pending,
            law=Fixed(batch),
            staleness_s=staleness_s,
            rejected=self._given_up,
            clock=clock,
        )
        self.write_s = 0.0
        self._written = self._replaced = self._dropped = 0

    def put(self, key: str, value: Value) -> bool:
        """Take the newest value of `key`; False when there is no room, or after `close`."""
        if key in self._pending:
            self._replaced += 1
        else:
            try:
                # The worker serves whoever comes: it must not run under the ids of the request that woke it.
                Context().run(self._keys.offer, key)
            except (BufferFull, Closed):
                self._dropped += 1
                return False
        self._pending[key] = value
        return True

    @property
    def staleness_s(self) -> float:
        """How long a value may wait for others to be written with it."""
        return self._keys.staleness_s

    @staleness_s.setter
    def staleness_s(self, value: float) -> None:
        self._keys.staleness_s = value

    def forget(self, key: str) -> None:
        """Do not write what waits under `key`."""
        self._pending.pop(key, None)

    def __len__(self) -> int:
        """How many values wait."""
        return len(self._pending)

    async def flush(self) -> None:
        """Write what waits now; return when that is done."""
        await self._keys.flush()

    async def close(self, timeout_s: float = CLOSE_S) -> None:
        """Refuse newcomers, write for at most `timeout_s`, drop the rest. Idempotent."""
        await self._keys.close(timeout_s)

    def outcomes(self) -> Mapping[str, int]:
        """What became of the values since the start."""
        return {"written": self._written, "replaced": self._replaced, "dropped": self._dropped}

    def stats(self) -> FlowStats:
        """The buffer at this moment; `service` is the time of a batch, forming included."""
        return self._keys.stats()

    async def _write(self, keys: Sequence[str]) -> None:
        left = iter(keys)
        taken: list[str] = []
        stored = 0
        begun_s = self._clock()
        try:
            stored = await self._target.batch_set(self._formed(left, taken))
        finally:
            self.write_s += self._clock() - begun_s
            # What a cache that is away did not even look at.
            unread = self._let_go(left)
            self._written += stored
            self._dropped += len(taken) + unread - stored

    def _formed(self, keys: Iterator[str], taken: list[str]) -> Iterator[tuple[str, Any]]:
        for key in keys:
            if key in self._pending:
                taken.append(key)
                yield key, self._form(self._pending.pop(key))

    def _given_up(self, keys: Sequence[str], _error: BaseException) -> None:
        self._dropped += self._let_go(keys)

    def _let_go(self, keys: Iterable[str]) -> int:
        waiting = [key for key in keys if key in self._pending]
        for key in waiting:
            del self._pending[key]
        return len(waiting)
