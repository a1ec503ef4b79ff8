import asyncio

import pytest

from fluido.errors import EngineUnavailable
from fluido.laws._fixed import Fixed
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    EngineBusy,
    Lane,
    Message,
    Options,
    PromptTooLong,
    Timings,
)
from fluido.llm.prompt._budget import LAST_MESSAGES

pytestmark = pytest.mark.anyio

SYSTEM = Message("system", "s" * 200)


def talk(name: str, turns: int, chars: int = 200, **more: object) -> Call:
    messages = [SYSTEM]
    for turn in range(turns):
        messages += [Message("user", f"{name}{turn}".ljust(chars)), Message("assistant", "ab")]
    messages.append(Message("user", f"{name}{turns}".ljust(chars)))
    return Call(tuple(messages), conversation=name, key=name, **more)


async def answer(dispatcher: Dispatcher, call: Call) -> Timings:
    items = [item async for item in dispatcher.stream(call)]
    assert isinstance(items[-1], Timings)
    return items[-1]


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_conversations_are_pinned_where_they_are(engine) -> None:
    scripted = engine(slots=4)
    async with Dispatcher([scripted]) as dispatcher:
        for turn in range(3):
            for name in "abcd":
                end = await answer(dispatcher, talk(name, turn))
                if turn:
                    assert end.cached_tokens > end.prompt_tokens / 2
        assert dispatcher.stats().residency[0].hits == 8
    assert scripted.slots[0] is None, "nobody knows yet whether somebody else is there"
    assert set(scripted.slots[1:]) == {0, 1, 2, 3}


async def test_a_conversation_goes_back_to_the_engine_that_holds_it(engine) -> None:
    engines = [engine("one", slots=2), engine("two", slots=2)]
    async with Dispatcher(engines) as dispatcher:
        homes = {}
        for name in "abcd":
            homes[name] = (await answer(dispatcher, talk(name, 0, chars=2000))).engine
        for turn in (1, 2):
            for name in "abcd":
                assert (await answer(dispatcher, talk(name, turn, chars=2000))).engine == homes[name]


async def test_a_busy_engine_spills(engine) -> None:
    one, two = engine("one", slots=1), engine("two", slots=1)
    one.go.clear()
    two.go.clear()
    async with Dispatcher([one, two]) as dispatcher:
        tasks = [asyncio.create_task(answer(dispatcher, talk(name, 0))) for name in "abcd"]
        await ticks()
        assert (one.inflight, two.inflight) == (1, 1)
        one.go.set()
        two.go.set()
        await asyncio.gather(*tasks)
    assert one.started == two.started == 2


async def test_a_lost_conversation_is_sent_shorter_and_grows_from_there(engine) -> None:
    """One slot, two conversations in turn: computing all of it again every time would be dear."""
    scripted = engine(slots=1, context_tokens=40_000)
    async with Dispatcher([scripted], cold_prefill_s=0.5) as dispatcher:
        for turn in range(12):
            for name in "ab":
                end = await answer(dispatcher, talk(name, turn, chars=400))
        assert end.dropped_messages > 0
        sent = scripted.calls[-1].messages
        assert sent[0] == SYSTEM
        assert len(sent) < 12
        alone = [await answer(dispatcher, talk("a", turn, chars=400)) for turn in range(12, 16)]
        assert len({end.dropped_messages for end in alone[1:]}) == 1, "warm: only appended to"
        assert scripted.calls[-1].messages[: len(scripted.calls[-2].messages)] == scripted.calls[-2].messages


async def test_a_lost_conversation_costs_those_who_wait_no_more_than_a_sliding_window(engine) -> None:
    """What is worth computing again for one alone is not while ten wait for it."""
    scripted = engine(slots=1, context_tokens=40_000)
    async with Dispatcher([scripted], cold_prefill_s=2.0) as dispatcher:
        for turn in range(8):
            for name in "ab":
                end = await answer(dispatcher, talk(name, turn, chars=100))
        assert end.dropped_messages == 0, "nobody waits: whole"
        scripted.go.clear()
        calls = [talk("first", 0), *(talk(name, 8, chars=100) for name in "ab")]
        calls += [talk(f"behind-{n}", 0, lane=Lane.BACKGROUND) for n in range(30)]
        waiting = [asyncio.create_task(answer(dispatcher, call)) for call in calls]
        await ticks()
        scripted.go.set()
        ends = await asyncio.gather(*waiting)
        sent = [len(call.messages) for call in scripted.calls if call.conversation in "ab"][-2:]
    assert max(end.dropped_messages for end in ends) > 0
    assert min(sent) == 1 + LAST_MESSAGES, "the system prompt, three exchanges, the question"


async def test_a_prompt_the_engine_finds_too_long_is_cut_by_its_count(engine, timings) -> None:
    scripted = engine(context_tokens=1000)

    async def counts(call: Call):
        tokens = sum(len(m.content) for m in call.messages)
        if tokens > 1000:
            raise PromptTooLong("too long", prompt_tokens=tokens, context_tokens=1000)
        yield Delta("ok")
        yield timings(prompt_tokens=tokens)

    scripted.script = counts
    async with Dispatcher([scripted]) as dispatcher:
        call = talk("a", 9, chars=100, options=Options(num_predict=50))
        assert (await answer(dispatcher, call)).dropped_messages > 0
        with pytest.raises(PromptTooLong):
            await answer(dispatcher, talk("b", 9, chars=100, trim=False))


async def test_the_engines_own_full_queue_is_not_the_callers(engine, timings) -> None:
    scripted = engine(slots=4)
    asked = 0

    async def busy_once(_: Call):
        nonlocal asked
        asked += 1
        if asked == 1:
            raise EngineBusy("server busy", retry_after_s=0.001)
        yield Delta("ok")
        yield timings()

    scripted.script = busy_once
    async with Dispatcher([scripted]) as dispatcher:
        assert (await answer(dispatcher, talk("a", 0))).retries == 1
        assert dispatcher.stats().up == (True,)


async def test_who_left_during_prefill_keeps_the_slot_as_a_ghost(engine) -> None:
    """An engine that computes on regardless is not given the next call before it is through."""
    scripted = engine(slots=1, ends_prefill=False)
    scripted.go.clear()
    async with Dispatcher([scripted]) as dispatcher:
        gone = asyncio.create_task(answer(dispatcher, talk("a", 0, chars=60)))
        await ticks()
        gone.cancel()
        await asyncio.wait({gone})
        assert scripted.inflight == 0
        assert dispatcher.stats().residency[0].ghosts == 1
        assert dispatcher.stats().flows[0].inflight == 1
        scripted.go.set()
        after = await answer(dispatcher, talk("b", 0, chars=60))
        assert after.queue_s > 0.1
        assert dispatcher.stats().residency[0].ghosts == 0


async def test_a_call_that_the_engine_refused_leaves_no_ghost(engine) -> None:
    scripted = engine(slots=1, ends_prefill=False)

    async def refuses(_: Call):
        raise PromptTooLong("too long", prompt_tokens=0, context_tokens=10)
        yield

    scripted.script = refuses
    async with Dispatcher([scripted]) as dispatcher:
        with pytest.raises(PromptTooLong):
            await answer(dispatcher, talk("a", 0, chars=6000))
        assert dispatcher.stats().residency[0].ghosts == 0
        assert dispatcher.stats().flows[0].inflight == 0


async def test_nobody_is_put_into_the_slot_of_a_ghost_and_no_load_begins_beside_it(engine) -> None:
    scripted = engine(slots=2, ends_prefill=False, loads=True)
    scripted.go.clear()
    async with Dispatcher([scripted], law=lambda facts: Fixed(facts.slots)) as dispatcher:
        gone = asyncio.create_task(answer(dispatcher, talk("a", 0, chars=60)))
        await ticks()
        gone.cancel()
        await asyncio.wait({gone})
        scripted.busy.add(0)
        assert dispatcher.stats().residency[0].ghosts == 1
        second = asyncio.create_task(answer(dispatcher, talk("b", 0, chars=60)))
        await ticks()
        assert scripted.slots == [None, 1]
        scripted.go.set()
        await second
        loading = asyncio.create_task(answer(dispatcher, talk("c", 0, chars=60, model="other")))
        await ticks()
        assert scripted.loads == [], "the ghost is still at work"
        await loading
        assert scripted.loads == ["other"]
        assert dispatcher.stats().residency[0].ghosts == 0


async def test_a_short_call_goes_beside_a_long_one(engine) -> None:
    scripted = engine(slots=4)
    scripted.go.clear()
    async with Dispatcher([scripted], law=lambda _: Fixed(1)) as dispatcher:
        long = asyncio.create_task(answer(dispatcher, talk("a", 0, options=Options(num_predict=2000))))
        await ticks()
        dispatcher.stations[0].estimate._kinds.clear()
        short = asyncio.create_task(
            answer(dispatcher, talk("b", 0, chars=20, options=Options(num_predict=2)))
        )
        other = asyncio.create_task(
            answer(dispatcher, talk("c", 0, chars=20, options=Options(num_predict=2)))
        )
        await ticks()
        assert dispatcher.stats().flows[0].value == 1
        assert scripted.inflight == 2
        scripted.go.set()
        await asyncio.gather(long, short, other)


async def test_what_was_asked_of_the_runner_is_answered_and_not_sent(engine) -> None:
    scripted = engine(runner={"num_ctx": 2048})
    async with Dispatcher([scripted]) as dispatcher:
        end = await answer(dispatcher, talk("a", 0, runner={"num_ctx": 8192}))
    assert end.notes == ("num_ctx=8192 was not applied: the loaded model keeps num_ctx=2048",)


async def test_predicted_waits_follow_what_waits_really_take(engine) -> None:
    scripted = engine(slots=1)
    async with Dispatcher([scripted], law=lambda _: Fixed(1)) as dispatcher:
        station = dispatcher.stations[0]
        for number in range(20):
            scripted.go.clear()
            calls = [talk(f"{name}{number}", 0, chars=2000) for name in "abcd"]
            tasks = [asyncio.create_task(answer(dispatcher, call)) for call in calls]
            await ticks()
            scripted.go.set()
            await asyncio.gather(*tasks)
        assert station._bias.factor < 0.5, "the scripted engine is far quicker than the estimate"


async def test_an_engine_that_was_away_has_forgotten(engine) -> None:
    scripted = engine(slots=2)
    async with Dispatcher([scripted]) as dispatcher:
        await answer(dispatcher, talk("a", 0))
        station = dispatcher.stations[0]
        station.health.down(EngineUnavailable("connection refused"))
        await asyncio.wait_for(station.health._recovery, 30)
        scripted.held.clear()
        await answer(dispatcher, talk("a", 1))
        assert (station.residency.hits, station.residency.misses) == (0, 0)
