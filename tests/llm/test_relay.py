import asyncio

import pytest

from fluido.errors import BufferFull, Closed, EngineUnavailable
from fluido.llm._call import Delta, Timings
from fluido.llm._relay import Relay

pytestmark = pytest.mark.anyio


async def heard(reader) -> tuple[str, Timings | None]:
    text, end = "", None
    async for item in reader.items():
        if isinstance(item, Timings):
            end = item
        else:
            text += item.text
    return text, end


async def test_a_reader_hears_everything_in_order(timings) -> None:
    relay = Relay()
    task = asyncio.create_task(heard(relay.join()))
    for piece in "añb":
        relay.put(Delta(piece))
        await asyncio.sleep(0)
    relay.finish(timings())
    text, end = await task
    assert text == "añb"
    assert end is not None


async def test_who_reads_slowly_gets_it_in_one_piece(timings) -> None:
    relay = Relay()
    reader = relay.join()
    for piece in "abc":
        relay.put(Delta(piece, thinking=piece))
    relay.finish(timings())
    items = [item async for item in reader.items()]
    assert items[0] == Delta("abc", "abc")
    assert len(items) == 2


async def test_late_readers_hear_it_from_the_start(timings) -> None:
    relay = Relay(replay=True)
    first = relay.join()
    relay.put(Delta("a"))
    assert relay.take(first) == Delta("a")
    late = relay.join()
    relay.put(Delta("b"))
    relay.finish(timings())
    assert (await heard(first))[0] == "b"
    assert (await heard(late))[0] == "ab"


async def test_without_replay_nobody_joins_late() -> None:
    relay = Relay()
    relay.join()
    relay.put(Delta("a"))
    with pytest.raises(Closed):
        relay.join()


async def test_a_failure_comes_after_what_was_heard() -> None:
    relay = Relay()
    reader = relay.join()
    relay.put(Delta("a"))
    relay.fail(EngineUnavailable("gone"))
    items = reader.items()
    assert await anext(items) == Delta("a")
    with pytest.raises(EngineUnavailable):
        await anext(items)


async def test_the_slowest_reader_holds_the_generation_only_so_long(timings) -> None:
    relay = Relay(max_unread_chars=10, replay=True)
    quick, slow = relay.join(), relay.join()
    relay.put(Delta("x" * 11))
    assert relay.full
    relay.take(quick)
    await relay.room(0.01)
    assert relay.readers == 1
    relay.finish(timings())
    assert (await heard(quick))[1] is not None
    with pytest.raises(BufferFull):
        await heard(slow)


async def test_reading_makes_room() -> None:
    relay = Relay(max_unread_chars=10)
    reader = relay.join()
    relay.put(Delta("x" * 11))
    waiting = asyncio.create_task(relay.room(5.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    relay.take(reader)
    await waiting
    assert relay.readers == 1
