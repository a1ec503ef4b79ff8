"""A step in capacity under a steady load, and what the buffers say meanwhile.

The engine of an arm is stopped and continued every 20 ms, so that it has half of its time: the same for every
arm, without a change in the requests.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from bench.samples import Timeline
from bench.stage import Contestant
from bench.trial import Arm, Taken

PERIOD_S = 0.02
WATCH_S = 0.25
FROM, TO = 1 / 3, 2 / 3
"""The step, as shares of the block."""
SLOWER, BACK = "engine at half speed", "engine at full speed"
WATCHED = ("value", "inflight", "waiting")


class StepArm:
    """An arm's block with a step in the middle; its timelines go to `keep`."""

    def __init__(
        self,
        inner: Arm,
        contestant: Contestant,
        block_s: float,
        keep: Callable[[Timeline], None],
        *,
        number: int,
    ) -> None:
        """`number`: of the round, for the timeline."""
        self.name = inner.name
        self._inner = inner
        self._contestant = contestant
        self._block_s = block_s
        self._keep = keep
        self._number = number

    async def run(self, seed: int) -> Taken:
        """As the inner arm's. Its engine runs at full speed again when this ends, however it ends."""
        events: list[tuple[float, str]] = []
        async with aiohttp.ClientSession() as session:
            watch = _Watch(session, self._contestant.url)
            async with watch.running(), self._changing(events, watch.origin):
                taken = await self._inner.run(seed)
        at_s, values = watch.columns()
        self._keep(Timeline("capacity_step", self.name, self._number, at_s, values, events))
        return taken

    @asynccontextmanager
    async def _changing(self, events: list[tuple[float, str]], origin: float) -> AsyncIterator[None]:
        task = asyncio.create_task(self._change(events, origin))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _change(self, events: list[tuple[float, str]], origin: float) -> None:
        await asyncio.sleep(FROM * self._block_s)
        events.append((time.perf_counter() - origin, SLOWER))
        until = origin + TO * self._block_s
        engine = self._contestant.engine
        child = engine.child if engine is not None else None
        try:
            while child is not None and child.pid is not None and time.perf_counter() < until:
                os.kill(child.pid, signal.SIGSTOP)
                await asyncio.sleep(PERIOD_S / 2)
                os.kill(child.pid, signal.SIGCONT)
                await asyncio.sleep(PERIOD_S / 2)
        finally:
            if child is not None and child.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGCONT)
            events.append((time.perf_counter() - origin, BACK))


class _Watch:
    """Looks at `/buffers` four times a second."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url + "/buffers"
        self.origin = time.perf_counter()
        self._seen: list[tuple[float, dict[str, float | None]]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._look())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def columns(self) -> tuple[list[float], dict[str, list[float | None]]]:
        """Seconds, and for each value what it was then."""
        names = sorted({name for _, values in self._seen for name in values})
        columns = {name: [values.get(name) for _, values in self._seen] for name in names}
        return [round(at, 3) for at, _ in self._seen], columns

    async def _look(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(self._url) as reply:
                    found = values_of(await reply.json())
                self._seen.append((time.perf_counter() - self.origin, found))
            await asyncio.sleep(WATCH_S)


def values_of(buffers: Mapping[str, Any]) -> dict[str, float | None]:
    """`kind.flow.value`, `.inflight` and `.waiting` of every flow; empty for V1, which has none."""
    found: dict[str, float | None] = {}
    for kind, about in buffers.items():
        flows = about.get("flows", ()) if isinstance(about, Mapping) else ()
        for flow in flows:
            for name in WATCHED:
                found[f"{kind}.{flow['name']}.{name}"] = flow.get(name)
    return found
