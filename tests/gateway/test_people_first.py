"""A person finds a place: one of several permits is kept, and a task that nobody has heard gives way."""

import asyncio

import pytest

from fluido.llm import Lane
from tests.gateway.conftest import Door, opened, until
from tests.gateway.scripted import Asked, ScriptedEngine, Wire, line, tell

pytestmark = pytest.mark.anyio
TASK = "### Task:\nGenerate a concise title for this chat."


class Page:
    """A script of a page: its own tasks are held until `go`, people are answered at once."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.go = asyncio.Event()
        self.begun: list[str] = []
        engine.script = self

    async def __call__(self, asked: Asked, wire: Wire) -> None:
        text = asked.json["messages"][-1]["content"]
        self.begun.append("task" if text == TASK else text)
        if text == TASK:
            await self.go.wait()
        await tell("hello")(asked, wire)


async def told(door: Door, text: str, **more: object) -> tuple[int, bytes]:
    async with door.chat(text, **more) as reply:
        return reply.status, await reply.read()


async def test_one_of_two_permits_is_kept_while_people_come(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        page = Page(ollama)
        assert (await told(door, "first"))[0] == 200
        flow = door.gateway.admission.flows[0]
        flow.pin(2)
        tasks = [asyncio.ensure_future(told(door, TASK, stream=False)) for _ in range(4)]
        await until(lambda: flow.waiting == 3)
        assert ollama.inflight == 1
        for text in ("second", "third"):
            assert (await told(door, text))[0] == 200
        assert (ollama.left, flow.displaced) == (0, 0), "nobody had to give way"
        page.go.set()
        assert {status for status, _ in await asyncio.gather(*tasks)} == {200}


async def test_an_engine_that_hides_its_slots_gets_one_task_at_a_time_while_people_come(
    ollama: ScriptedEngine,
) -> None:
    async with opened(ollama) as door:
        page = Page(ollama)
        assert (await told(door, "first"))[0] == 200
        flow = door.gateway.admission.flows[0]
        tasks = [asyncio.ensure_future(told(door, TASK)) for _ in range(3)]
        await until(lambda: flow.waiting == 2)
        assert (await told(door, "second"))[0] == 200
        assert ollama.inflight == 1
        page.go.set()
        assert {status for status, _ in await asyncio.gather(*tasks)} == {200}


async def test_nothing_is_kept_where_no_people_come(ollama: ScriptedEngine) -> None:
    async with opened(ollama) as door:
        page = Page(ollama)
        tasks = [asyncio.ensure_future(told(door, TASK)) for _ in range(2)]
        await until(lambda: ollama.inflight == 2)
        page.go.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_task_that_nobody_has_heard_gives_its_permit_to_a_person(
    ollama: ScriptedEngine, stream: bool
) -> None:
    """On one permit, and without its client noticing: it is computed again from the beginning."""
    async with opened(ollama) as door:
        page = Page(ollama)
        assert (await told(door, "first"))[0] == 200
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        task = asyncio.ensure_future(told(door, TASK, stream=stream))
        await until(lambda: page.begun == ["first", "task"])
        assert (await told(door, "second"))[0] == 200
        await until(lambda: page.begun == ["first", "task", "second", "task"])
        assert ollama.left == 1
        assert (await told(door, "third"))[0] == 200
        await until(lambda: page.begun[-1] == "task")
        # twice is enough: now it is computed to its end
        person = asyncio.ensure_future(told(door, "fourth"))
        await until(lambda: flow.waiting == 1)
        page.go.set()
        assert (await task)[0] == (await person)[0] == 200
        assert page.begun == ["first", "task", "second", "task", "third", "task", "fourth"]
        assert flow.displaced == 2
        outcomes = [each.outcome for each in door.gateway.seen.kept]
        assert outcomes == ["answered"] * 5


async def test_a_task_that_has_begun_to_speak_is_left_alone(ollama: ScriptedEngine) -> None:
    go = asyncio.Event()

    async def script(asked: Asked, wire: Wire) -> None:
        if asked.json["messages"][-1]["content"] != TASK:
            await tell("hello")(asked, wire)
            return
        await wire.head()
        await wire.chunk(line("A "))
        await go.wait()
        await tell("title")(asked, wire)

    async with opened(ollama) as door:
        assert (await told(door, "first"))[0] == 200
        ollama.script = script
        flow = door.gateway.admission.flows[0]
        flow.pin(1)
        async with door.chat(TASK) as reply:
            await reply.content.readline()
            person = asyncio.ensure_future(told(door, "second"))
            await until(lambda: flow.waiting == 1)
            assert ollama.left == 0
            reply.close()
        go.set()
        assert (await person)[0] == 200
        assert flow.displaced == 0


async def test_many_answers_of_one_call_take_as_many_permits(openai: ScriptedEngine) -> None:
    """An engine computes four sequences for n=4; more than the limit takes all of it."""
    go = asyncio.Event()

    async def call(door: Door, n: int) -> int:
        async with door.v1(n=n) as reply:
            await reply.read()
            return reply.status

    async with opened(openai) as door:
        assert await call(door, 1) == 200
        answer = openai.script

        async def held(asked: Asked, wire: Wire) -> None:
            await go.wait()
            await answer(asked, wire)

        openai.script = held
        flow = door.gateway.admission.flows[0]
        flow.pin(5)
        calls = [asyncio.ensure_future(call(door, 4))]
        await until(lambda: flow.inflight == 4)
        calls.append(asyncio.ensure_future(call(door, 3)))
        await until(lambda: flow.waiting == 1)
        assert openai.inflight == 1
        go.set()
        assert await asyncio.gather(*calls) == [200, 200]
        go.clear()
        wide = asyncio.ensure_future(call(door, 100))
        await until(lambda: flow.inflight == 5)
        small = asyncio.ensure_future(call(door, 1))
        await until(lambda: flow.waiting == 1)
        go.set()
        assert (await wide, await small) == (200, 200)
        await until(lambda: flow.inflight == 0)
        assert flow.queue.waiting(Lane.INTERACTIVE) == 0
