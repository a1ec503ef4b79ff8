"""Tokens are merged only while the receiver is busy; nothing is lost, reordered or left running."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest

from fluido.flow._loop_lag import LoopLag
from fluido.flow._stream import StreamCoalescer
from fluido.laws._stream_gap import StreamGap
from fluido.testing.virtual_loop import VirtualLoop


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    VirtualLoop().run(main())


def coalescer(**more: Any) -> StreamCoalescer[str]:
    return StreamCoalescer("".join, size=len, clock=asyncio.get_running_loop().time, **more)


async def tokens(text: str, every_s: float, ended: list[str] | None = None) -> AsyncIterator[str]:
    try:
        for letter in text:
            await asyncio.sleep(every_s)
            yield letter
    finally:
        if ended is not None:
            ended.append(letter)


async def collect(stream: AsyncIterator[str], busy_s: float = 0.0) -> list[str]:
    got = []
    async for message in stream:
        got.append(message)
        await asyncio.sleep(busy_s)
    return got


def test_a_receiver_that_keeps_up_gets_every_token_as_it_comes() -> None:
    async def main() -> None:
        stream = coalescer()
        assert await collect(stream.relay(tokens("hello", 0.01))) == list("hello")
        assert (stream.received, stream.sent) == (5, 5)

    run(main)


def test_a_slow_receiver_gets_them_merged_and_the_first_at_once() -> None:
    async def main() -> None:
        got = await collect(coalescer().relay(tokens("abcdefgh", 0.01)), busy_s=0.035)
        assert "".join(got) == "abcdefgh"
        assert got[0] == "a"
        assert len(got) == 3

    run(main)


def test_a_receiver_that_stopped_reading_holds_back_the_source() -> None:
    async def main() -> None:
        stream = coalescer(max_size=4)
        messages = stream.relay(tokens("x" * 100, 0))
        assert await anext(messages) == "x"
        await asyncio.sleep(1)
        assert stream.received <= 6
        rest = await collect(messages)
        assert sum(map(len, rest)) == 99
        assert max(map(len, rest)) <= 4

    run(main)


def test_events_travel_alone_and_flush() -> None:
    async def main() -> None:
        stream = coalescer(is_event=lambda item: item == "!", gap=lambda: 10.0)
        got = await collect(stream.relay(tokens("ab!cd", 0.01)))
        assert got == ["a", "b", "!", "cd"]

    run(main)


def test_a_gap_spaces_messages_except_the_first_and_the_last() -> None:
    async def main() -> None:
        got = await collect(coalescer(gap=lambda: 0.04).relay(tokens("abcdefghi", 0.01)))
        assert got == ["a", "bcde", "fghi"]

    run(main)


def test_an_error_of_the_source_comes_after_what_preceded_it() -> None:
    async def broken() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        raise ConnectionError("gone")

    async def main() -> None:
        messages = coalescer().relay(broken())
        assert await anext(messages) == "ab"
        with pytest.raises(ConnectionError):
            await anext(messages)

    run(main)


def test_a_receiver_that_leaves_closes_the_source_at_once() -> None:
    async def main() -> None:
        ended: list[str] = []
        async with aclosing(coalescer().relay(tokens("abcdef", 0.01, ended))) as messages:  # type: ignore[type-var]
            async for message in messages:
                if message == "b":
                    break
        assert ended == ["c"]
        assert len(asyncio.all_tasks()) == 1

    run(main)


def test_a_cancelled_receiver_closes_the_source() -> None:
    async def main() -> None:
        ended: list[str] = []
        task = asyncio.create_task(collect(coalescer().relay(tokens("abcdef", 1, ended))))
        await asyncio.sleep(2.5)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert ended == ["c"]

    run(main)


def test_the_lag_of_the_loop_sets_the_gap() -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time
        late = [0.0]
        lag = LoopLag(StreamGap(), clock=lambda: now() + late[0])
        lag.open()
        lag.open()
        await asyncio.sleep(1)
        assert lag.value == 0
        for _ in range(60):
            late[0] += 0.010  # each timer runs 10 ms later than the clock says
            await asyncio.sleep(0.05)
        assert 0.005 <= lag.value <= 0.040
        await asyncio.sleep(30)
        assert lag.value == 0
        assert lag.stats().reasons["loop_late"] >= 1
        lag.close()
        lag.close()

    run(main)


def test_nonsense_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="max_size"):
            coalescer(max_size=0)

    run(main)
