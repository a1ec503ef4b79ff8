"""Time jumps, order is kept, and code that hangs is told so."""

import asyncio

import pytest

from fluido.testing.virtual_loop import NothingScheduled, VirtualLoop


def test_hours_pass_at_once_and_in_order() -> None:
    loop = VirtualLoop()
    order: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        order.append((name, loop.time()))

    async def main() -> str:
        await asyncio.gather(sleeper("late", 7200), sleeper("soon", 0.001), sleeper("noon", 3600))
        return "done"

    assert loop.run(main()) == "done"
    assert order == [("soon", 0.001), ("noon", 3600), ("late", 7200)]
    assert loop.is_closed()


def test_a_hang_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingScheduled):
        VirtualLoop().run(main())


def test_what_was_left_running_is_cancelled() -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            ended.append("background")

    async def main() -> None:
        task = asyncio.create_task(background())
        await asyncio.sleep(1)
        assert not task.done()

    VirtualLoop().run(main())
    assert ended == ["background"]


def test_timeouts_work_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.sleep(60)
        return asyncio.get_running_loop().time()

    assert VirtualLoop().run(main()) == 30
