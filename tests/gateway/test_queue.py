"""The queue behind the gateway: who waits, how long, who is told no, and what happens when an engine dies."""

import asyncio
import json

import pytest

from fluido.gateway._keys import Client, Keys
from fluido.llm._call import Lane
from tests.gateway.conftest import Door, opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, line, say, tell

pytestmark = pytest.mark.anyio


class Held:
    """A script that holds every call until it is let go."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.go = asyncio.Event()
        self.order: list[str] = []

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        self.order.append(asked.json["messages"][-1]["content"])
        await self.go.wait()
        await (tell("x") if self.engine.api == "ollama" else say("x"))(asked, wire)


async def told(door: Door, text: str, **more: object) -> tuple[int, bytes]:
    async with door.chat(text, **more) as reply:
        return reply.status, await reply.read()


async def begun(door: Door, engine: ScriptedEngine) -> Held:
    """One call is at the engine, which takes no other beside it."""
    held = engine.script = Held(engine)
    asyncio.ensure_future(told(door, "first"))  # noqa: RUF006
    await until(lambda: held.order)
    door.gateway.admission.flows[0].pin(1)
    return held


def keys(*clients: Client) -> Keys:
    return Keys((client.name, client) for client in clients)


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


async def test_a_client_with_many_calls_does_not_keep_another_waiting(ollama: ScriptedEngine) -> None:
    two = keys(Client("greedy"), Client("modest"), Client("first"))
    async with opened(ollama, keys=two) as door:
        held = ollama.script = Held(ollama)
        calls = [asyncio.ensure_future(told(door, "first", headers=bearer("first")))]
        await until(lambda: held.order)
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        calls += [asyncio.ensure_future(told(door, f"g{i}", headers=bearer("greedy"))) for i in range(40)]
        await until(lambda: flow.waiting == 40)
        calls.append(asyncio.ensure_future(told(door, "modest", headers=bearer("modest"))))
        await until(lambda: flow.waiting == 41)
        held.go.set()
        await asyncio.gather(*calls)
    assert held.order.index("modest") <= 3


async def test_what_no_engine_can_be_asked_is_refused_before_it_waits(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        held = await begun(door, ollama)
        waiting = door.gateway.admission.flows[0].waiting
        async with door.v1("four at once", n=4) as reply:
            said = (await reply.json())["error"]
        assert (reply.status, said["param"], said["code"]) == (400, "n", "unsupported_parameter")
        assert door.gateway.admission.flows[0].waiting == waiting
        after = asyncio.ensure_future(told(door, "after"))
        held.go.set()
        assert (await after)[0] == 200


async def test_a_weight_is_a_share(ollama: ScriptedEngine) -> None:
    both = keys(Client("heavy", weight=3.0), Client("light"), Client("first"))
    async with opened(ollama, keys=both) as door:
        held = ollama.script = Held(ollama)
        calls = [asyncio.ensure_future(told(door, "first", headers=bearer("first")))]
        await until(lambda: held.order)
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        calls += [
            asyncio.ensure_future(told(door, f"{name}{i}", headers=bearer(name)))
            for i in range(12)
            for name in ("heavy", "light")
        ]
        await until(lambda: flow.waiting == 24)
        held.go.set()
        await asyncio.gather(*calls)
    early = held.order[1:13]
    assert 7 <= sum(text.startswith("heavy") for text in early) <= 10


async def test_a_pages_own_tasks_wait_for_people(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        held = await begun(door, ollama)
        flow = door.gateway.admission.flows[0]
        task = "### Task:\nGenerate a concise title for this chat."
        titles = [asyncio.ensure_future(told(door, task)) for _ in range(5)]
        await until(lambda: flow.queue.waiting(Lane.BACKGROUND) == 5)
        person = asyncio.ensure_future(told(door, "person"))
        await until(lambda: flow.waiting == 6)
        held.go.set()
        await asyncio.gather(person, *titles)
    assert held.order[1] == "person"


@pytest.mark.parametrize("api", ["ollama", "openai"])
async def test_a_deadline_that_cannot_be_met_is_refused_at_once_with_the_wait(api: str) -> None:
    engine = ScriptedEngine(api, models=("m:latest" if api == "ollama" else "m",))
    engine.script = tell("x", gap_s=0.1) if api == "ollama" else say("x", gap_s=0.1)
    async with opened(engine) as door:
        ask = door.chat if api == "ollama" else door.v1
        for _ in range(5):  # nobody is refused for a guess
            async with ask("warm") as reply:
                await reply.read()
        held = engine.script = Held(engine)
        flow = door.gateway.admission.flows[0]
        flow.pin(1)

        async def call(text: str) -> None:
            async with ask(text) as reply:
                await reply.read()

        calls = [asyncio.ensure_future(call(f"c{i}")) for i in range(30)]
        await until(lambda: flow.waiting == 29)
        async with ask("late", headers={"x-deadline-ms": "50"}) as reply:
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert float(reply.headers["x-queue-wait-ms"]) > 50
            said = (await reply.json())["error"]
            assert "deadline" in (said if api == "ollama" else said["message"])
        held.go.set()
        await asyncio.gather(*calls)
        assert "late" not in held.order


async def test_a_full_queue_is_told_and_one_client_may_not_fill_it(ollama: ScriptedEngine) -> None:
    both = keys(Client("greedy"), Client("modest"), Client("first"))
    async with opened(ollama, keys=both, max_waiting=8) as door:
        held = ollama.script = Held(ollama)
        calls = [asyncio.ensure_future(told(door, "first", headers=bearer("first")))]
        await until(lambda: held.order)
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        calls += [asyncio.ensure_future(told(door, f"g{i}", headers=bearer("greedy"))) for i in range(20)]
        await until(lambda: sum(call.done() for call in calls) == 14)
        statuses = {call.result()[0] for call in calls if call.done()}
        assert statuses <= {429, 503}
        calls.append(asyncio.ensure_future(told(door, "modest", headers=bearer("modest"))))
        await until(lambda: flow.waiting == 7)
        held.go.set()
        assert (await calls[-1])[0] == 200
        await asyncio.gather(*calls)


async def test_who_waits_gets_heartbeats_that_its_clients_survive(ollama: ScriptedEngine) -> None:
    async with opened(ollama, heartbeat_s=0.1) as door:
        held = await begun(door, ollama)

        async def chat() -> bytes:
            return (await told(door, "second"))[1]

        waiter = asyncio.ensure_future(chat())
        flow = door.gateway.admission.flows[0]
        await until(lambda: flow.waiting == 1)
        await asyncio.sleep(0.35)
        held.go.set()
        got = await waiter
    lines = [json.loads(each) for each in got.splitlines()]
    assert [each["message"]["content"] for each in lines].count("") >= 3
    assert lines[-1]["done"] is True
    assert "x" in [each["message"]["content"] for each in lines]


async def test_a_heartbeat_of_openai_is_a_comment_and_a_late_error_is_told(openai: ScriptedEngine) -> None:
    async def script(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(0.3)
        await wire.whole({"error": {"message": "the grammar is wrong"}}, 400)

    openai.script = script
    async with opened(openai, heartbeat_s=0.1) as door, door.v1(stream=True) as reply:
        assert reply.status == 200
        got = (await reply.read()).decode()
    assert got.startswith(": ")
    assert (
        "the grammar is wrong" in json.loads(got.splitlines()[-2].removeprefix("data: "))["error"]["message"]
    )
    assert "[DONE]" not in got


async def test_an_engine_that_dies_before_the_first_token_costs_nobody_anything() -> None:
    first, second = ScriptedEngine(), ScriptedEngine()
    go = asyncio.Event()

    async def hang(asked: Asked, wire: Wire) -> None:
        await asyncio.sleep(600)

    async def late(asked: Asked, wire: Wire) -> None:
        await go.wait()
        await tell("from the second")(asked, wire)

    async with opened(first, second) as door:
        first.script, second.script = hang, late
        calls = [asyncio.ensure_future(told(door, f"c{i}")) for i in range(6)]
        await until(lambda: first.inflight and second.inflight and first.inflight + second.inflight == 6)
        await first.kill()
        await until(lambda: second.inflight == 6)
        go.set()
        for status, body in await asyncio.gather(*calls):
            assert status == 200
            assert b"from the second" in body


async def test_an_engine_that_dies_in_the_middle_is_told_to_everybody_who_heard_it() -> None:
    engine = ScriptedEngine()

    async def script(asked: Asked, wire: Wire) -> None:
        await wire.head()
        await wire.chunk(line("one"))
        await asyncio.sleep(60)

    engine.script = script
    async with opened(engine) as door, door.chat() as warm:
        await warm.content.readline()
        door.gateway.admission.flows[0].pin(8)
        replies = [await door.chat(f"c{i}") for i in range(4)]
        for reply in replies:
            await reply.content.readline()
        await engine.kill()
        for reply in (warm, *replies):
            rest = await reply.read()
            assert json.loads(rest.splitlines()[-1])["error"]


async def test_nobody_answers(ollama: ScriptedEngine) -> None:
    async with opened(ollama, away_s=0.0) as door:
        async with door.chat() as reply:
            await reply.read()
        await ollama.kill()
        async with door.chat() as reply:
            assert reply.status == 503
            assert reply.headers["retry-after"]
            assert "error" in await reply.json()
        await ollama.start()
        await until(lambda: door.gateway.admission.flows[0].health.up)
        async with door.chat() as reply:
            assert reply.status == 200
            assert json.loads((await reply.read()).splitlines()[-1])["done"]


async def test_observe_holds_nobody_and_changes_nothing(ollama: ScriptedEngine) -> None:
    async with opened(ollama, observe=True) as door:
        held = ollama.script = Held(ollama)
        options = {"num_ctx": 1234}
        calls = [asyncio.ensure_future(told(door, f"c{i}", options=options)) for i in range(20)]
        await until(lambda: ollama.inflight == 20)
        held.go.set()
        await asyncio.gather(*calls)
    assert all(each.json["options"] == options for each in ollama.seen)
    assert all(each.asked == options for each in door.gateway.seen.last)


async def test_observe_says_whose_prompt_was_cut(ollama: ScriptedEngine) -> None:
    async with opened(ollama, observe=True) as door:
        for text, window in (("long " * 400, 64), ("short", 64), ("long " * 400, 4096)):
            await told(door, text, options={"num_ctx": window})
        await until(lambda: len(door.gateway.seen.last) == 3)
        lost = [each.lost_tokens > 0 for each in door.gateway.seen.last]
    assert sorted(lost) == [False, False, True]


TOLD = {"total_slots": 4, "default_generation_settings": {"n_ctx": 4096}, "build_info": "b1"}


@pytest.mark.parametrize(("props", "at_once"), [(TOLD, 4), (None, 20)])
async def test_an_engine_does_as_much_at_once_as_it_would_without_us(
    openai: ScriptedEngine, props: dict | None, at_once: int
) -> None:
    """From the first call on: told slots, and a server that batches and tells none."""
    if props is not None:
        openai.more["/props"] = props
        slots = [{"id": i, "is_processing": False, "id_task": -1, "n_ctx": 4096} for i in range(4)]
        openai.more["/slots"] = slots
    held = openai.script = Held(openai)
    async with opened(openai) as door:

        async def call(text: str) -> int:
            async with door.v1(text) as reply:
                await reply.read()
                return reply.status

        calls = [asyncio.ensure_future(call(f"c{i}")) for i in range(20)]
        await until(lambda: len(held.order) == at_once)
        held.go.set()
        assert set(await asyncio.gather(*calls)) == {200}
