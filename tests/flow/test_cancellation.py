"""Callers of every flow are cancelled at any moment: nothing leaks, nobody else is hurt.

Everything a flow awaits takes a millisecond or more of virtual time, and cancellations fall on every tenth of
one, so each await is hit, also in the tick in which it ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fluido import Batcher, Closed, Fixed, Gate, Limiter, StreamCoalescer, WaitTimeout, WriteBehind
from fluido.laws._lanes import Lanes
from fluido.testing.virtual_loop import VirtualLoop

MOMENTS = st.lists(
    st.tuples(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 60))), min_size=1, max_size=25
)
QUICK = settings(max_examples=80, deadline=None)
TENTH_S = 1e-4

Moments = list[tuple[int, int | None]]


async def callers(moments: Moments, call: Callable[[int], Coroutine[Any, Any, Any]]) -> list[Any]:
    """Starts caller i at its moment and cancels it at the other, if there is one; what each came to."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[Any]] = []

    async def begin(index: int, start: int, stop: int | None) -> Any:
        await asyncio.sleep(start * TENTH_S)
        task = loop.create_task(call(index))
        if stop is not None:
            loop.call_later(stop * TENTH_S, task.cancel)
        return await asyncio.wait({task}) and task

    for index, (start, stop) in enumerate(moments):
        tasks.append(loop.create_task(begin(index, start, stop)))
    ended = await asyncio.gather(*tasks)
    return [None if task.cancelled() else task.exception() or task.result() for task in ended]


async def no_task_is_left() -> None:
    await asyncio.sleep(1)
    assert len(asyncio.all_tasks()) == 1


@QUICK
@given(MOMENTS)
def test_limiter(moments: Moments) -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time
        flow = Limiter(Fixed(2), name="x", max_waiting=100, clock=now, lanes=Lanes())

        async def call(index: int) -> int:
            deadline_s = now() + 0.003 if index % 4 == 0 else None
            async with flow.permit(label=f"{index % 2}", deadline_s=deadline_s):
                await asyncio.sleep(0.001)
            return index

        results = await callers(moments, call)
        assert (flow.gate.inflight, flow.gate.waiting) == (0, 0)
        for index, (_, stop) in enumerate(moments):
            if stop is None and index % 4:
                assert results[index] == index
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(MOMENTS, st.integers(1, 2))
def test_batcher(moments: Moments, lanes: int) -> None:
    async def main() -> None:
        written: list[int] = []

        async def write(rows: Sequence[int]) -> list[int]:
            await asyncio.sleep(0.001)
            if 7 in rows:
                raise ValueError("bad row")
            written.extend(rows)
            return list(rows)

        flow: Batcher[int, int] = Batcher(
            write, name="x", max_pending=100, lanes=lanes, law=Fixed(3), poisoned=lambda _: True
        )
        results = await callers(moments, flow.add)
        await flow.close()
        assert len(written) == len(set(written)), "an item was written twice"
        for index, (_, stop) in enumerate(moments):
            if stop is None and index != 7:
                assert results[index] == index
                assert index in written
        assert flow.stats().waiting == 0
        assert not flow._running
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(MOMENTS)
def test_write_behind(moments: Moments) -> None:
    async def main() -> None:
        written: list[int] = []

        async def write(rows: Sequence[int]) -> None:
            await asyncio.sleep(0.001)
            written.extend(rows)

        flow = WriteBehind(
            write,
            name="x",
            max_pending=3,
            staleness_s=0.001,
            law=Fixed(2),
            clock=asyncio.get_running_loop().time,
        )

        async def put(index: int) -> int:
            await flow.put(index)
            return index

        results = await callers(moments, put)
        await flow.close()
        assert len(written) == len(set(written)), "an item was written twice"
        accepted = [index for index, result in enumerate(results) if result == index]
        assert set(accepted) <= set(written), "what was accepted was not written"
        assert flow.stats().waiting == 0
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(st.integers(0, 80), st.integers(0, 8), st.integers(0, 8))
def test_stream(stop: int, produce: int, consume: int) -> None:
    async def main() -> None:
        closed: list[bool] = []

        async def source() -> AsyncIterator[str]:
            try:
                for letter in "abcdefghij":
                    await asyncio.sleep(produce * TENTH_S)
                    yield letter
            finally:
                closed.append(True)

        now = asyncio.get_running_loop().time
        flow: StreamCoalescer[str] = StreamCoalescer(
            "".join, size=len, max_size=3, gap=lambda: 5 * TENTH_S, clock=now
        )
        got: list[str] = []

        async def read() -> None:
            async for message in flow.relay(source()):
                got.append(message)
                await asyncio.sleep(consume * TENTH_S)

        task = asyncio.create_task(read())
        asyncio.get_running_loop().call_later(stop * TENTH_S, task.cancel)
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert "abcdefghij".startswith("".join(got))
        assert closed in ([True], []), "closed once, or never started"
        assert not got or closed
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(MOMENTS, st.integers(0, 60), st.integers(0, 60))
def test_a_cancelled_close_of_a_batcher_can_be_closed_again(moments: Moments, at: int, stop: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        written: list[int] = []

        async def write(rows: Sequence[int]) -> list[int]:
            await asyncio.sleep(0.001)
            written.extend(rows)
            return list(rows)

        flow: Batcher[int, int] = Batcher(write, name="x", max_pending=100, law=Fixed(3))
        adding = loop.create_task(callers(moments, flow.add))
        await asyncio.sleep(at * TENTH_S)
        closing = loop.create_task(flow.close())
        loop.call_later(stop * TENTH_S, closing.cancel)
        await asyncio.wait({closing})
        results = await adding
        await flow.close()
        for index, result in enumerate(results):
            assert isinstance(result, Closed) or result in {None, index}
        assert {index for index, result in enumerate(results) if result == index} <= set(written)
        assert len(written) == len(set(written))
        assert (flow.stats().waiting, flow.stats().inflight) == (0, 0)
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(MOMENTS, st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_a_cancelled_flush_or_close_loses_no_row(moments: Moments, at: int, stop: int, close: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        written: list[int] = []
        rejected: list[int] = []

        async def write(rows: Sequence[int]) -> None:
            await asyncio.sleep(0.001)
            written.extend(rows)

        flow = WriteBehind(
            write,
            name="x",
            max_pending=3,
            staleness_s=0.001,
            law=Fixed(2),
            rejected=lambda rows, _error: rejected.extend(rows),
            clock=loop.time,
        )

        async def put(index: int) -> int:
            await flow.put(index)
            return index

        putting = loop.create_task(callers(moments, put))
        await asyncio.sleep(at * TENTH_S)
        ending = loop.create_task(flow.close() if close else flow.flush())
        loop.call_later(stop * TENTH_S, ending.cancel)
        await asyncio.wait({ending})
        results = await putting
        await flow.close()
        accepted = {index for index, result in enumerate(results) if result == index}
        assert accepted <= set(written) | set(rejected), "neither written nor rejected"
        assert close or not rejected
        assert len(written) == len(set(written))
        assert flow.stats().waiting == 0
        await no_task_is_left()

    VirtualLoop().run(main())


@QUICK
@given(MOMENTS)
def test_a_gate_with_short_waits_for_a_standing_queue(moments: Moments) -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time
        gate = Gate(1, max_waiting=100, clock=now, standing_share=0.05)

        async def one_more() -> None:
            await gate.acquire()
            await asyncio.sleep(0.001)
            gate.release()

        # The queue has stood for long before the first of them comes.
        await gate.acquire()
        waiting = asyncio.create_task(one_more())
        await asyncio.sleep(0.2)

        async def call(index: int) -> int:
            await gate.acquire(deadline_s=now() + 0.02)
            try:
                await asyncio.sleep(0.001)
            finally:
                gate.release()
            return index

        asyncio.get_running_loop().call_later(0.002, gate.release)
        results = await callers(moments, call)
        await waiting
        assert (gate.inflight, gate.waiting) == (0, 0)
        assert all(result is None or isinstance(result, int | WaitTimeout) for result in results)
        await no_task_is_left()

    VirtualLoop().run(main())
