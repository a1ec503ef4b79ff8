import asyncio

import pytest

from fluido.errors import EngineUnavailable, WaitTimeout
from fluido.llm import Answers, Call, Delta, Dispatcher, Lane, Message, Options, Timings
from fluido.llm._engine import EngineFacts

pytestmark = pytest.mark.anyio

FACTS = EngineFacts("e", "scripted", "m", 1, 4096, "1")
EXACT = Options(temperature=0.0)


def ask(*texts: str, options: Options = EXACT, **more: object) -> Call:
    roles = ("user", "assistant")
    return Call(
        tuple(Message(roles[i % 2], t) for i, t in enumerate(texts or ("q",))), options=options, **more
    )


async def answer(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    items = [item async for item in dispatcher.stream(call)]
    assert isinstance(items[-1], Timings)
    return "".join(item.text for item in items[:-1]), items[-1]


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_only_what_would_repeat_is_shared() -> None:
    answers = Answers()
    assert answers.key(ask(), FACTS) is not None
    assert answers.key(ask(options=Options(seed=1, temperature=0.9)), FACTS) is not None
    assert answers.key(ask(options=Options(temperature=0.7)), FACTS) is None
    assert answers.key(ask(options=Options()), FACTS) is None
    assert answers.key(ask(), None) is None
    assert Answers(sampled=True).key(ask(options=Options(temperature=0.7)), FACTS) is not None


def test_nothing_crosses_tenants_models_options_or_histories() -> None:
    answers = Answers()
    other = EngineFacts("e", "scripted", "m", 1, 4096, "1", instance="restarted")
    keys = [
        answers.key(ask(), FACTS),
        answers.key(ask(), other),
        answers.key(ask(tenant="t"), FACTS),
        answers.key(ask(model="n"), FACTS),
        answers.key(ask(think=True), FACTS),
        answers.key(ask(response_format="json"), FACTS),
        answers.key(ask(options=Options(temperature=0.0, num_predict=5)), FACTS),
        answers.key(ask("q "), FACTS),
        answers.key(ask("q", "a", "q"), FACTS),
        answers.key(ask("q", "a", "q", key="one"), FACTS),
        answers.key(ask("q", "a", "q", key="two"), FACTS),
    ]
    assert len(set(keys)) == len(keys)
    assert answers.key(ask(key="one"), FACTS) == answers.key(ask(key="two"), FACTS)


def test_memory_is_bounded_and_old_answers_go(timings) -> None:
    now = 0.0
    answers = Answers(max_chars=1000, ttl_s=10.0, clock=lambda: now)
    for number in range(20):
        answers.put(bytes([number]), Delta("x" * 100), timings())
    assert answers.chars <= 1000
    assert answers.get(bytes([0])) is None
    assert answers.get(bytes([19])) is not None
    now = 11.0
    assert answers.get(bytes([19])) is None
    answers.put(b"big", Delta("x" * 5000), timings())
    answers.put(b"odd", Delta("x"), timings(finish_reason="unload"))
    assert answers.get(b"big") is None
    assert answers.get(b"odd") is None


async def test_the_same_question_again_costs_nothing(engine) -> None:
    scripted = engine()
    async with Dispatcher([scripted]) as dispatcher:
        first = await answer(dispatcher, ask())
        text, end = await answer(dispatcher, ask())
    assert text == first[0]
    assert end.replayed
    assert not first[1].replayed
    assert scripted.started == 1
    assert end.total_s < 5.0


async def test_ten_at_once_are_one_generation_and_late_ones_hear_all(engine, timings) -> None:
    scripted = engine()
    middle = asyncio.Event()

    async def slowly(_: Call):
        yield Delta("one ")
        await middle.wait()
        yield Delta("two")
        yield timings()

    scripted.script = slowly
    async with Dispatcher([scripted]) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher, ask())) for _ in range(5)]
        await ticks()
        tasks += [asyncio.create_task(answer(dispatcher, ask())) for _ in range(5)]
        await ticks()
        middle.set()
        results = await asyncio.gather(*tasks)
        assert dispatcher.stats().answers_joined == 9
    assert {text for text, _ in results} == {"one two"}
    assert scripted.started == 1
    assert sum(not end.replayed for _, end in results) == 1


async def test_a_joiner_leaving_does_not_end_it_and_the_last_one_does(engine) -> None:
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        first, second, third = (asyncio.create_task(answer(dispatcher, ask())) for _ in range(3))
        await ticks()
        first.cancel()
        await asyncio.wait({first})
        assert scripted.inflight == 1
        scripted.go.set()
        assert (await second)[0] == (await third)[0] == "ab"
        scripted.go.clear()
        alone = asyncio.create_task(answer(dispatcher, ask("another")))
        await ticks()
        alone.cancel()
        await asyncio.wait({alone})
        assert scripted.inflight == 0


async def test_failures_are_not_kept(engine) -> None:
    scripted = engine()

    async def fails(_: Call):
        raise EngineUnavailable("no")
        yield

    async with Dispatcher([scripted]) as dispatcher:
        scripted.script = fails
        with pytest.raises(EngineUnavailable):
            await answer(dispatcher, ask())
        scripted.script = None
        await asyncio.wait_for(dispatcher.stations[0].health._recovery, 30)
        assert (await answer(dispatcher, ask()))[0] == "ab"


async def test_a_joiner_keeps_its_own_deadline(engine) -> None:
    now = 0.0
    scripted = engine()
    scripted.go.clear()
    async with Dispatcher([scripted], clock=lambda: now) as dispatcher:
        first = asyncio.create_task(answer(dispatcher, ask()))
        await ticks()
        with pytest.raises(WaitTimeout):
            await answer(dispatcher, ask(deadline_s=0.01))
        scripted.go.set()
        assert (await first)[0] == "ab"


async def test_nobody_urgent_waits_behind_background_work(engine) -> None:
    scripted = engine(slots=1)
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        other = asyncio.create_task(answer(dispatcher, ask("other")))
        await ticks()
        slow = asyncio.create_task(answer(dispatcher, ask(lane=Lane.BACKGROUND)))
        await ticks()
        typed = asyncio.create_task(answer(dispatcher, ask()))
        await ticks()
        assert dispatcher.stats().answers_joined == 0
        scripted.go.set()
        await asyncio.gather(other, slow, typed)
