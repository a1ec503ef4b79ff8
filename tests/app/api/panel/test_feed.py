"""One producer, many pages, nothing unbounded."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest

from app.api.panel import Feed, Frames
from app.api.traffic import Traffic
from fluido import Fixed, Limiter
from fluido.errors import Closed, LimitReached
from tests.app.scripted import ScriptedSystem

pytestmark = pytest.mark.anyio


class FlowingSystem(ScriptedSystem):
    """A scripted assistant with one real flow."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = Limiter(Fixed(2), name="db", max_waiting=10)
        self.asked = 0

    def flows(self) -> Iterator[Limiter]:
        self.asked += 1
        yield self.limiter


def parsed(data: bytes) -> tuple[str, Any]:
    name, _, body = data.decode().strip().partition("\ndata: ")
    return name.removeprefix("event: "), json.loads(body)


@contextmanager
def feed_of(system: ScriptedSystem, **options: Any) -> Iterator[Feed]:
    feed = Feed(Frames(system, Traffic(system.flows)), **{"period_s": 0.001, **options})
    yield feed
    assert feed.viewers == 0
    assert not feed.is_producing


async def test_all_pages_are_fed_by_one_producer_that_rests_when_nobody_looks() -> None:
    system = FlowingSystem()
    with feed_of(system) as feed:
        assert not feed.is_producing
        async with aclosing(feed.watch()) as first, aclosing(feed.watch()) as second:
            assert parsed(await anext(first))[0] == parsed(await anext(second))[0] == "history"
            before = system.asked
            frames = [await asyncio.gather(anext(first), anext(second)) for _ in range(5)]
            assert feed.viewers == 2
            assert frames[0][0] is frames[0][1]
            # one look at the flows per frame, not one per page; a frame may have been missed meanwhile
            assert system.asked - before <= 12
        async with aclosing(feed.watch()) as again:
            name, history = parsed(await anext(again))
            assert (name, len(history["frames"]) >= 5) == ("history", True)
            assert history["frames"][0]["flows"]["db"] == [2.0, 0, 0, None]


async def test_a_frame_shows_limit_waits_and_reasons() -> None:
    system = FlowingSystem()
    limiter = system.limiter
    limiter.pin(1)
    with feed_of(system) as feed:
        async with limiter.permit(), aclosing(feed.watch()) as page:
            waiting = asyncio.create_task(limiter.gate.acquire(label="report"))
            await anext(page)
            name, frame = parsed(await anext(page))
            assert name == "frame"
            flow = frame["flows"][0]
            assert (flow["value"], flow["inflight"], flow["waiting"], flow["pinned"]) == (1.0, 1, 1, True)
            assert [d["reason"] for d in flow["decisions"]] == ["pinned"]
            assert frame["waiters"][0]["class"] == "report"
            assert frame["waiters"][0]["waited_ms"] > 0
            while not frame["health"]:
                frame = parsed(await anext(page))[1]
            assert frame["health"][0]["name"] == "postgresql"
        await waiting
        limiter.gate.release()


async def test_a_page_that_does_not_read_gets_the_newest_frame_and_holds_nothing_up() -> None:
    with feed_of(FlowingSystem()) as feed:
        async with aclosing(feed.watch()) as slow, aclosing(feed.watch()) as fast:
            await anext(slow)
            await anext(fast)
            last = [await anext(fast) for _ in range(20)][-1]
            at_s = parsed(await anext(slow))[1]["at_s"]
            assert at_s >= parsed(last)[1]["at_s"]


async def test_too_many_pages_are_refused_and_a_closed_feed_ends_them() -> None:
    with feed_of(FlowingSystem(), max_viewers=1) as feed:
        async with aclosing(feed.watch()) as page:
            await anext(page)
            with pytest.raises(LimitReached, match="1 pages look already"):
                feed.check_room()
            await feed.close()
            names = [parsed(data)[0] async for data in page]
            assert names[-1] == "end"
        with pytest.raises(Closed):
            feed.check_room()


async def test_a_replica_that_leaves_ends_its_pages() -> None:
    leaving = False
    with feed_of(FlowingSystem(), is_leaving=lambda: leaving) as feed:
        async with aclosing(feed.watch()) as page:
            await anext(page)
            leaving = True
            names = [parsed(data)[0] async for data in page]
            assert names[-1] == "end"


async def test_a_flow_that_breaks_costs_a_frame_and_not_the_page() -> None:
    class Broken(FlowingSystem):
        def flows(self) -> Iterator[Limiter]:
            if self.asked == 0:
                self.asked += 1
                raise RuntimeError("a bug in a flow")
            return super().flows()

    with feed_of(Broken()) as feed:
        async with aclosing(feed.watch()) as page:
            await anext(page)
            assert parsed(await anext(page))[1]["flows"][0]["name"] == "db"
