"""The load generator in virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bench.load import FailedError, Load, RefusedError, Reply
from bench.samples import Outcome
from bench.workloads import Question, Session


def visit(name: str, turns: int = 1, think_s: float = 1.0) -> Session:
    return Session(tuple(Question(name, name, t, "?", 8) for t in range(turns)), (think_s,) * (turns - 1))


class Server:
    """Serves one at a time, each for `service_s`; may be told to stall, refuse or fail."""

    def __init__(self, clock: Callable[[], float], service_s: float = 1.0) -> None:
        self.clock, self.service_s = clock, service_s
        self.turn = asyncio.Lock()
        self.seen: list[str] = []
        self.raises: dict[str, Exception] = {}

    async def __call__(self, question: Question) -> Reply:
        self.seen.append(question.conversation)
        if question.conversation in self.raises:
            raise self.raises[question.conversation]
        async with self.turn:
            await asyncio.sleep(self.service_s / 2)
            first = self.clock()
            await asyncio.sleep(self.service_s / 2)
        return Reply(first, 8)


def test_open_loop_counts_the_queue_it_caused(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.open_loop([visit(str(n)) for n in range(3)], [0.0, 0.0, 0.5])
        assert [sample.total_s for sample in samples] == pytest.approx([1.0, 2.0, 2.5])
        assert [sample.ttft_s for sample in samples] == pytest.approx([0.5, 1.5, 2.0])

    virtual(main)


def test_latency_counts_from_the_intended_start_when_the_loop_itself_stalls(virtual: Any) -> None:
    """Coordinated omission: whoever wakes up late still owes the user the whole wait."""

    async def main(loop: Any) -> None:
        async def oversleep(wait_s: float) -> None:
            await asyncio.sleep(wait_s + 5.0)

        load = Load(Server(loop.time), clock=loop.time, sleep=oversleep)
        (sample,) = await load.open_loop([visit("a")], [1.0])
        assert sample.intended_s == pytest.approx(1.0)
        assert sample.started_s == pytest.approx(6.0)
        assert sample.total_s == pytest.approx(6.0)

    virtual(main)


def test_a_person_asks_again_after_the_answer_and_a_thought(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.open_loop([visit("a", turns=3, think_s=2.0)], [1.0])
        assert [sample.intended_s for sample in samples] == pytest.approx([1.0, 4.0, 7.0])
        assert [sample.total_s for sample in samples] == pytest.approx([1.0] * 3)

    virtual(main)


def test_one_conversation_has_one_question_open(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.open_loop([visit("a"), visit("a")], [0.0, 0.2])
        assert samples[1].started_s == pytest.approx(1.0)
        assert samples[1].total_s == pytest.approx(1.8)

    virtual(main)


def test_refusals_and_failures_are_outcomes_not_latencies(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server = Server(loop.time)
        server.raises = {"b": RefusedError("429"), "c": FailedError("reset")}
        load = Load(server, clock=loop.time)
        samples = await load.open_loop([visit(n) for n in "abc"], [0.0, 0.1, 0.2])
        outcomes = [sample.outcome for sample in samples]
        assert outcomes == [Outcome.ANSWERED, Outcome.REFUSED, Outcome.FAILED]
        assert samples[2].label == "reset"
        assert samples[1].ttft_s is None

    virtual(main)


def test_a_hang_is_cut_at_the_deadline_and_counts_as_failed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time, service_s=100.0), clock=loop.time, deadline_s=3.0)
        (sample,) = await load.open_loop([visit("a")], [0.0])
        assert sample.outcome is Outcome.FAILED
        assert sample.finished_s == pytest.approx(3.0)

    virtual(main)


def test_closed_loop_keeps_its_crew_busy_and_stops_in_time(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.closed_loop((visit(str(n)) for n in range(100)), crew=2, duration_s=5.0)
        assert len(samples) == 6
        assert samples[-1].total_s == pytest.approx(2.0)
        everything = await load.closed_loop([visit("a", turns=2), visit("b")], crew=1)
        assert len(everything) == 3

    virtual(main)


def test_cancelling_a_load_leaves_no_request_behind(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server = Server(loop.time)
        task = asyncio.ensure_future(
            Load(server, clock=loop.time).open_loop([visit(str(n)) for n in range(9)], [0.0] * 9)
        )
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        assert not server.turn.locked()

    virtual(main)
