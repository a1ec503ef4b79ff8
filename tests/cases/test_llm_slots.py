"""Cases 1, 9 and 11 of llm.md on the real llama.cpp, in the shapes in which it is started."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import aiohttp
import pytest

import embedded
from embedded.engine import EngineOptions
from embedded.synthetic import synthetic
from fluido.llm import Call, Delta, Dispatcher, Message, OpenAIEngine, Options, Timings

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
SYSTEM = Message("system", "You are Sentinel, a careful guide. " * 3)
WORDS = ["quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "near", "some", "river", "bank"]
SHAPES = {
    "split, RAM cache": EngineOptions(slot_tokens=1024, threads=1),
    "split, no RAM cache": EngineOptions(slot_tokens=1024, threads=1, prompt_cache_mib=0),
    "one buffer, RAM cache": EngineOptions(slot_tokens=1024, threads=1, one_buffer=True),
    "one buffer, no RAM cache": EngineOptions(
        slot_tokens=1024, threads=1, one_buffer=True, prompt_cache_mib=0
    ),
}


IN_THE_SUITE = ("one buffer, RAM cache",)  # as llama-server starts by itself
PARAMS = [name if name in IN_THE_SUITE else pytest.param(name, marks=pytest.mark.deep) for name in SHAPES]


@pytest.fixture(params=PARAMS, scope="module")
def shape(request, ground_folder) -> Iterator[embedded.Engine]:
    folder = request.param.replace(", ", "-").replace(" ", "-")
    server = embedded.Engine(ground_folder, synthetic(), SHAPES[request.param], folder=folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def turn_of(name: str, turn: int) -> Message:
    return Message("user", f"{name} asks {turn}: " + " ".join(name + word for word in WORDS))


async def ask(dispatcher: Dispatcher, messages: list[Message], name: str, tokens: int = 6) -> Timings:
    call = Call(
        tuple(messages), conversation=name, options=Options(num_predict=tokens, temperature=0.0, seed=1)
    )
    async with aclosing(dispatcher.stream(call)) as stream:
        items = [item async for item in stream]
    said = "".join(item.text for item in items if isinstance(item, Delta))
    messages.append(Message("assistant", said.strip() or "ok"))
    assert isinstance(items[-1], Timings)
    return items[-1]


class Refused(Exception):
    """What a client without a gateway is told by a full buffer."""


async def bare(url: str, messages: list[Message], tokens: int = 6) -> tuple[int, int]:
    """A client without a gateway: tokens found again, and of how many."""
    body = {
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "max_tokens": tokens,
        "temperature": 0,
        "seed": 1,
    }
    address = f"{url}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(address, json=body) as reply:
        said = await reply.json()
    if "choices" not in said:
        raise Refused(said)
    messages.append(Message("assistant", said["choices"][0]["message"]["content"].strip() or "ok"))
    return said["timings"]["cache_n"], said["usage"]["prompt_tokens"]


@pytest.fixture
async def dispatcher(shape) -> AsyncIterator[Dispatcher]:
    async with Dispatcher([OpenAIEngine(shape.url)]) as opened:
        yield opened


async def test_conversations_in_turn_find_what_the_engine_can_find(shape) -> None:
    """Case 1: in no shape less than without a gateway, and all that was said where slots can hold it."""
    plain = {name: [SYSTEM] for name in ("pa", "pb", "pc")}
    ours = {name: [SYSTEM] for name in ("oa", "ob", "oc")}
    found = {"plain": 0, "ours": 0}
    for turn in range(3):
        for name, messages in plain.items():
            messages.append(turn_of(name, turn))
            cached, _ = await bare(shape.url, messages)
            found["plain"] += cached if turn == 2 else 0
    async with Dispatcher([OpenAIEngine(shape.url)]) as dispatcher:
        for turn in range(3):
            for name, messages in ours.items():
                messages.append(turn_of(name, turn))
                end = await ask(dispatcher, messages, name)
                assert end.dropped_messages == 0, "nothing is cut for a cache that was not lost"
                found["ours"] += end.cached_tokens if turn == 2 else 0
                held = end.prompt_tokens
    assert found["ours"] >= 0.9 * found["plain"]
    if not shape.options.one_buffer:
        assert found["ours"] >= 3 * 0.6 * held, "each found its own earlier turns"


@pytest.mark.parametrize("rounds", [5, pytest.param(20, marks=pytest.mark.deep)])
async def test_two_replicas_never_wait_for_each_others_slot(shape, rounds) -> None:
    """Case 9(b): one call each at the same moment."""
    engines = [OpenAIEngine(shape.url, extra={"ignore_eos": True}) for _ in range(2)]
    async with Dispatcher([engines[0]]) as a, Dispatcher([engines[1]]) as b:
        talks = {a: [SYSTEM], b: [SYSTEM]}
        collided = 0
        for turn in range(rounds):
            if turn % 2 == 0:
                talks = {a: [SYSTEM], b: [SYSTEM]}  # a new conversation on both sides
            names = {each: f"{'ab'[index]}{turn // 2}" for index, each in enumerate(talks)}
            for each, messages in talks.items():
                messages.append(Message("user", f"{names[each]} asks {turn}"))
            before = await tasks_of(shape.url)
            ends = await asyncio.gather(*(ask(each, talks[each], names[each], 48) for each in talks))
            after = await tasks_of(shape.url)
            # one slot that served both: they may have been in it one after the other, or in each other's way
            in_one_slot = sum(task != before[slot] for slot, task in after.items()) < 2
            collided += in_one_slot and max(end.queue_s for end in ends) > 0.5 * min(e.total_s for e in ends)
        assert collided == 0


async def test_two_replicas_on_one_server_lose_no_answer(shape) -> None:
    """Their tokens together are more than one window: replicas that know of each other overfill no buffer."""
    words = " ".join(WORDS)
    text = " ".join(f"{number} {words}" for number in range(11))
    async with Dispatcher([OpenAIEngine(shape.url)]) as a, Dispatcher([OpenAIEngine(shape.url)]) as b:
        for turn in range(2):  # who has never seen the other can fill it once
            for each in (a, b):
                await ask(each, [turn_of("ab"[each is b], turn)], "")
        for each in (a, b):
            each.stations[0].pin(4)
        calls = [ask((a, b)[n % 2], [Message("user", f"{n} {text}")], f"fill{n}", 24) for n in range(8)]
        ends = await asyncio.wait_for(asyncio.gather(*calls), 120)
    assert sum(end.prompt_tokens for end in ends) > 2 * shape.options.slot_tokens
    assert all(end.finish_reason in {"stop", "length"} for end in ends)


async def test_a_busy_slot_of_another_client_is_not_waited_for(shape, dispatcher) -> None:
    """Case 9(a): somebody generates for long in some slot; ours go beside it."""
    messages = [Message("system", "Brief."), turn_of("x", 0)]
    await ask(dispatcher, messages, "x")
    # with ours it stays below what one buffer holds: who grows while ours is answered can overfill it
    long = asyncio.create_task(bare(shape.url, [Message("user", "Go on for ever")], 700))
    try:
        while not await at_work(shape.url):  # noqa: ASYNC110  (the engine is another process)
            await asyncio.sleep(0.01)
        beside = 0
        for turn in range(1, 5):
            messages.append(turn_of("x", turn))
            await ask(dispatcher, messages, "x")
            await ask(dispatcher, [messages[0], turn_of("y", turn)], f"y{turn}")
            if long.done():
                break
            beside += 1
            station = dispatcher.stations[0]
            assert not station.slots.company.alone or not station.residency.pins
        assert beside, "the first two did not wait for the other's whole answer"
    finally:
        long.cancel()
        await asyncio.wait({long})


async def tasks_of(url: str) -> dict[int, int]:
    """The last call that each slot has served."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/slots") as reply:
        return {slot["id"]: slot.get("id_task", -1) for slot in await reply.json()}


async def at_work(url: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/slots") as reply:
        return any(slot["is_processing"] for slot in await reply.json())


async def test_four_long_calls_at_once_lose_no_answer(shape, dispatcher) -> None:
    """Case 11: where all slots share one buffer, it is a purse of tokens."""
    station = dispatcher.stations[0]
    station.pin(4)
    window = station.facts.context_tokens
    words = " ".join(WORDS)
    text = " ".join(f"{number} {words}" for number in range(window // 70))
    calls = [ask(dispatcher, [Message("user", f"{n} {text}")], f"long{n}", 24) for n in range(4)]
    ends = await asyncio.gather(*calls)
    assert sum(end.prompt_tokens for end in ends) > window, "together they are more than one window"
    assert all(end.finish_reason in {"stop", "length"} for end in ends)
    assert station.health.downs == 0
