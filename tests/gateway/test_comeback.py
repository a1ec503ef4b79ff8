"""An engine that is away and comes back: its callers wait, with signs of life, for as long as they may."""

import asyncio
import json

import pytest

from fluido.gateway._keys import Client, Keys
from tests.gateway.conftest import Door, opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, say, tell

pytestmark = pytest.mark.anyio
CALLERS = 6
HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def told(door: Door, text: str = "hi", **more: object) -> tuple[int, bytes]:
    async with door.chat(text, **more) as reply:
        return reply.status, await reply.read()


async def known(door: Door, engine: ScriptedEngine) -> None:
    """One call was answered, and then the engine died."""
    assert (await told(door))[0] == 200
    await engine.kill()


@pytest.mark.parametrize("api", ["ollama", "openai"])
@pytest.mark.parametrize("stream", [True, False])
async def test_who_comes_while_it_is_away_is_answered_when_it_is_back(api: str, stream: bool) -> None:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    async with opened(engine) as door:
        await known(door, engine)
        ask = door.chat if api == "ollama" else door.v1

        async def call(i: int) -> tuple[int, bytes]:
            async with ask(f"c{i}", stream=stream) as reply:
                return reply.status, await reply.read()

        calls = [asyncio.ensure_future(call(i)) for i in range(CALLERS)]
        await until(lambda: door.gateway.admission.comeback.waiting == CALLERS)
        await engine.start()
        assert {(status, b"hello" in body) for status, body in await asyncio.gather(*calls)} == {(200, True)}
        assert door.gateway.admission.comeback.waiting == 0


async def test_who_stood_in_line_and_who_was_in_hand_when_it_died_are_answered(
    ollama: ScriptedEngine,
) -> None:
    async def hang(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(600)

    async with opened(ollama) as door:
        await told(door)
        ollama.script = hang
        calls = [asyncio.ensure_future(told(door, f"c{i}")) for i in range(CALLERS)]
        await until(lambda: ollama.inflight == CALLERS)
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        calls += [asyncio.ensure_future(told(door, f"l{i}")) for i in range(CALLERS)]
        await until(lambda: flow.waiting == CALLERS)
        await ollama.kill()
        await until(lambda: door.gateway.admission.comeback.waiting == 2 * CALLERS)
        ollama.script = tell("hello")
        await ollama.start()
        assert {status for status, _ in await asyncio.gather(*calls)} == {200}


async def test_a_gateway_that_was_there_first(ollama: ScriptedEngine) -> None:
    await ollama.kill()
    async with opened(ollama.url) as door:
        call = asyncio.ensure_future(told(door))
        await until(lambda: door.gateway.admission.comeback.waiting == 1)
        await ollama.start()
        assert (await call)[0] == 200


@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_a_stream_that_waits_shows_signs_of_life(api: str) -> None:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    async with opened(engine, heartbeat_s=0.02) as door:
        await known(door, engine)
        ask = door.chat if api == "ollama" else door.v1
        async with ask(stream=True) as reply:
            beats = [await reply.content.readline() for _ in range(3)]
            await engine.start()
            rest = await reply.read()
    if api == "ollama":
        assert [json.loads(beat)["message"]["content"] for beat in beats] == ["", "", ""]
        assert json.loads(rest.splitlines()[-1])["done"] is True
    else:
        assert beats[0].startswith(b":")
        assert rest.rstrip().endswith(b"[DONE]")
    assert b"hello" in rest


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"away_s": 0.2}, {}),
        ({"away_s": 0.0}, {}),
        ({}, {"x-deadline-ms": "200"}),
        ({"away_s": 0.0}, {"x-deadline-ms": "200"}),
    ],
)
async def test_nobody_waits_for_longer_than_he_may(
    ollama: ScriptedEngine, settings: dict, headers: dict
) -> None:
    async with opened(ollama, **settings) as door:
        await known(door, ollama)
        async with door.chat(headers=headers) as reply:
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert "is down" in (await reply.json())["error"]
        assert door.gateway.seen.last[0].outcome == "failed"


async def test_what_will_not_come_by_itself_is_told_at_once(ollama: ScriptedEngine) -> None:
    """A model that an engine never had, and an engine that answers and lets nobody in."""
    async with opened(ollama, away_s=600.0) as door:
        await known(door, ollama)
        async with door.chat(model="typo") as reply:
            assert reply.status == 404
    await ollama.start()

    class Locked(ScriptedEngine):
        async def _answer(self, asked: Asked, wire: Wire) -> None:
            await wire.whole({"error": "who are you?"}, 401)

    async with opened(Locked(), away_s=600.0) as door, door.chat() as reply:
        assert reply.status == 503
        assert "wants a key" in (await reply.json())["error"]


async def test_those_who_wait_are_bounded_and_may_leave(ollama: ScriptedEngine) -> None:
    keys = Keys((name, Client(name)) for name in ("greedy", "modest"))
    async with opened(ollama, max_waiting=8, keys=keys, away_s=600.0) as door:
        greedy, modest = ({"authorization": f"Bearer {name}"} for name in ("greedy", "modest"))
        assert (await told(door, headers=greedy))[0] == 200
        await ollama.kill()
        calls = [asyncio.ensure_future(told(door, headers=greedy)) for _ in range(10)]
        await until(lambda: sum(call.done() for call in calls) == 4)
        assert {call.result()[0] for call in calls if call.done()} <= {429, 503}
        calls.append(asyncio.ensure_future(told(door, headers=modest)))
        comeback = door.gateway.admission.comeback
        await until(lambda: comeback.waiting == 7)
        for call in calls:
            call.cancel()
        await until(lambda: comeback.waiting == 0)


async def test_who_observes_only_waits_for_nobody(ollama: ScriptedEngine) -> None:
    async with opened(ollama, observe=True, away_s=600.0) as door:
        await known(door, ollama)
        assert (await told(door))[0] == 503


async def test_another_engine_takes_what_waits(ollama: ScriptedEngine) -> None:
    second = ScriptedEngine()
    second.script = tell("from the second")
    async with opened(ollama, second) as door:
        await told(door)
        await ollama.kill()
        await second.kill()
        call = asyncio.ensure_future(told(door))
        await until(lambda: door.gateway.admission.comeback.waiting == 1)
        await second.start()
        status, body = await call
        assert (status, b"from the second" in body) == (200, True)
        await second.kill()


async def test_a_server_that_loads_its_model_is_waited_for(openai: ScriptedEngine) -> None:
    """llama.cpp listens before it has its model, and answers 503 meanwhile."""

    async def loading(asked: Asked, wire: Wire) -> None:
        await wire.whole(
            {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, 503
        )

    async with opened(openai) as door:
        async with door.v1() as reply:
            assert reply.status == 200
        openai.script = loading
        call = asyncio.ensure_future(door.session.post(f"{door.url}/v1/chat/completions", json=HELLO))
        await until(lambda: len(openai.seen) >= 3)
        openai.script = say("hello")
        async with await call as reply:
            assert (reply.status, "hello" in await reply.text()) == (200, True)


async def test_a_vllm_that_was_put_to_sleep_is_asked_nothing_until_it_is_awake(
    openai: ScriptedEngine,
) -> None:
    openai.more["/is_sleeping"] = {"is_sleeping": True}
    awake = ScriptedEngine("openai", models=("m",))
    awake.script = say("from the other")
    async with opened(openai, awake) as door:
        for _ in range(3):
            async with door.v1() as reply:
                assert "from the other" in await reply.text()
        assert not openai.seen
    async with opened(openai) as door:
        call = asyncio.ensure_future(door.session.post(f"{door.url}/v1/chat/completions", json=HELLO))
        await until(lambda: door.gateway.admission.comeback.waiting == 1)
        openai.more["/is_sleeping"] = {"is_sleeping": False}
        async with await call as reply:
            assert (reply.status, "hello" in await reply.text()) == (200, True)
    openai.more["/is_sleeping"] = {"is_sleeping": True}
    async with opened(openai, away_s=0.0) as door, door.v1() as reply:
        assert reply.status == 503
        assert "wake_up" in (await reply.json())["error"]["message"]
