"""The order in which a replica leaves, in scripted time."""

import asyncio
from collections.abc import Callable

import pytest

from app.core.drain import Drain, Phase

pytestmark = pytest.mark.anyio


class ScriptedSleep:
    """Sleeps end when the test says so; remembers how long each was meant to be."""

    def __init__(self) -> None:
        self.asked_s: list[float] = []
        self._ends: list[asyncio.Event] = []

    async def __call__(self, wait_s: float) -> None:
        end = asyncio.Event()
        self.asked_s.append(wait_s)
        self._ends.append(end)
        await end.wait()

    async def end(self) -> None:
        """End the newest sleep and let everybody run who waited for it."""
        self._ends[-1].set()
        await settled()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110  the condition is the server's doing
            await asyncio.sleep(0.001)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_announces_then_refuses_then_ends_when_idle() -> None:
    sleep = ScriptedSleep()
    drain = Drain(announce_s=3.0, grace_s=20.0, sleep=sleep)
    with drain.work():
        leaving = asyncio.create_task(drain.leave())
        await settled()
        assert (drain.phase, drain.is_leaving, drain.is_refusing) == (Phase.ANNOUNCED, True, False)
        await sleep.end()
        assert drain.is_refusing
        assert not leaving.done()
    assert await leaving == 0
    assert sleep.asked_s == [3.0, 20.0]


async def test_what_outlives_the_grace_is_told_once() -> None:
    sleep = ScriptedSleep()
    drain = Drain(grace_s=20.0, sleep=sleep)
    told: list[str] = []
    with drain.told(lambda: told.append("left before")):
        pass
    with drain.work(), drain.told(lambda: told.append("cut")):
        leaving = asyncio.create_task(drain.leave())
        await settled()
        assert not told
        await sleep.end()
        assert told == ["cut"]
        assert not leaving.done()
    assert await leaving == 1


async def test_an_idle_replica_leaves_at_once() -> None:
    drain = Drain(sleep=ScriptedSleep())
    assert await asyncio.wait_for(drain.leave(), 30.0) == 0
