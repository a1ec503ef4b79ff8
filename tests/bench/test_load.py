"""The load generator in virtual time."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from bench.load import FailedError, Load, RefusedError, Reply
from bench.samples import Outcome
from bench.workloads import Question, Script, Step


def asks(name: str) -> Iterator[Question]:
    return (Question(name, name, turn, "?", 8) for turn in itertools.count())


def person(name: str, first_s: float = 0.0, pause_s: float = 1.0) -> Script:
    return Script(name, first_s, (Step(question, pause_s) for question in asks(name)))


class Server:
    """Serves one at a time, each for `service_s`; may be told to stall, refuse or fail."""

    def __init__(self, clock: Callable[[], float], service_s: float = 1.0) -> None:
        self.clock, self.service_s = clock, service_s
        self.turn = asyncio.Lock()
        self.open: list[str] = []
        self.raises: dict[str, Exception] = {}

    async def __call__(self, question: Question) -> Reply:
        assert question.user_id not in self.open, "nobody asks twice before the answer"
        self.open.append(question.user_id)
        try:
            if question.user_id in self.raises:
                raise self.raises[question.user_id]
            async with self.turn:
                await asyncio.sleep(self.service_s / 2)
                first = self.clock()
                await asyncio.sleep(self.service_s / 2)
        finally:
            self.open.remove(question.user_id)
        return Reply(first, 8)


def test_people_wait_for_each_other_and_not_for_themselves(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.people([person("a"), person("b", 0.5)], until_s=3.0)
        assert [(s.user, s.intended_s) for s in samples] == [("a", 0.0), ("b", 0.5), ("a", 2.0)]
        assert [s.total_s for s in samples] == pytest.approx([1.0, 1.5, 1.0])
        assert [s.ttft_s for s in samples] == pytest.approx([0.5, 1.0, 0.5])

    virtual(main)


def test_a_person_asks_again_after_the_answer_and_the_pause(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time, 4.0), clock=loop.time)
        samples = await load.people([person("a", 1.0, pause_s=2.0)], until_s=14.0)
        assert [sample.intended_s for sample in samples] == pytest.approx([1.0, 7.0, 13.0])
        assert {round(sample.total_s, 6) for sample in samples} == {4.0}

    virtual(main)


def test_latency_counts_from_when_a_person_may_ask_when_the_loop_itself_stalls(virtual: Any) -> None:
    """Coordinated omission: whoever wakes up late still owes the person the whole wait."""

    async def main(loop: Any) -> None:
        async def oversleep(wait_s: float) -> None:
            await asyncio.sleep(wait_s + 5.0)

        load = Load(Server(loop.time), clock=loop.time, sleep=oversleep)
        (sample,) = await load.people([person("a", 1.0, pause_s=90.0)], until_s=8.0)
        assert (sample.intended_s, sample.started_s) == pytest.approx((1.0, 6.0))
        assert sample.total_s == pytest.approx(6.0)

    virtual(main)


def test_what_is_asked_before_the_warm_up_ends_is_not_counted(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.people([person("a")], until_s=10.0, from_s=4.0)
        assert [sample.intended_s for sample in samples] == pytest.approx([0.0, 2.0, 4.0])
        assert samples[0].finished_s == pytest.approx(1.0)
        assert samples[0].first_s == pytest.approx(0.5)

    virtual(main)


def test_refusals_and_failures_are_outcomes_not_latencies(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server = Server(loop.time)
        server.raises = {"b": RefusedError("429"), "c": FailedError("reset")}
        load = Load(server, clock=loop.time)
        people = [person(name, at / 10, pause_s=50.0) for at, name in enumerate("abc")]
        samples = await load.people(people, until_s=9.0)
        outcomes = [sample.outcome for sample in samples]
        assert outcomes == [Outcome.ANSWERED, Outcome.REFUSED, Outcome.FAILED]
        assert samples[2].label == "reset"
        assert samples[1].ttft_s is None

    virtual(main)


def test_a_hang_is_cut_at_the_deadline_and_counts_as_failed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time, service_s=100.0), clock=loop.time, deadline_s=3.0)
        (sample,) = await load.people([person("a", pause_s=50.0)], until_s=1.0)
        assert sample.outcome is Outcome.FAILED
        assert sample.finished_s == pytest.approx(3.0)

    virtual(main)


def test_a_crew_is_never_idle_and_never_asks_twice_for_one_person(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server = Server(loop.time)
        # a asks again at once, twice: the crew goes on with the others meanwhile.
        order = [*"aaabbbccc", *(f"d{n}" for n in range(50))]
        questions = (Question(name, name, 0, "?", 8) for name in order)
        samples = await Load(server, clock=loop.time).crew(questions, size=3, duration_s=10.5)
        assert len(samples) == 10
        assert len(asyncio.all_tasks()) == 1
        assert not server.open

    virtual(main)


def test_a_slow_engine_gets_more_time_but_not_for_ever(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        questions = (next(asks(str(n))) for n in itertools.count())
        load = Load(Server(loop.time, service_s=2.9), clock=loop.time)
        assert len(await load.crew(questions, size=4, duration_s=5.0, least=2)) == 3
        assert loop.time() == pytest.approx(10.0)
        assert len(await load.crew(questions, size=4, duration_s=5.0, least=9)) == 5
        assert loop.time() == pytest.approx(25.0)

    virtual(main)


def test_a_crew_ends_although_a_driver_swallows_a_cancellation(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        async def deaf(_: Question) -> Reply:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1.0)
            return Reply()

        questions = (next(asks(str(n))) for n in itertools.count())
        samples = await Load(deaf, clock=loop.time).crew(questions, size=2, duration_s=2.5)
        assert len(samples) == 6
        assert loop.time() == pytest.approx(2.5)

    virtual(main)


def test_a_crew_of_an_engine_that_never_answers_ends(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time, service_s=1e6), clock=loop.time, deadline_s=1e5)
        questions = (next(asks(str(n))) for n in itertools.count())
        assert await load.crew(questions, size=4, duration_s=5.0) == []
        assert loop.time() == pytest.approx(5.0)

    virtual(main)


def test_closed_loop_keeps_its_crew_busy_and_stops_in_time(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        load = Load(Server(loop.time), clock=loop.time)
        samples = await load.closed_loop((next(asks(str(n))) for n in range(100)), crew=2, duration_s=5.0)
        assert len(samples) == 6
        assert samples[-1].total_s == pytest.approx(2.0)
        everything = await load.closed_loop([next(asks(name)) for name in "abc"], crew=1)
        assert len(everything) == 3

    virtual(main)


def test_cancelling_a_load_leaves_no_request_behind(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        server = Server(loop.time)
        people = [person(str(n)) for n in range(9)]
        task = asyncio.ensure_future(Load(server, clock=loop.time).people(people, until_s=50.0))
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1
        assert not server.turn.locked()

    virtual(main)
