"""The real Ollama as it is started: 1, 2, 4 at once, OLLAMA_CONTEXT_LENGTH 1,024 and 8,192, several models.

What it finds again is read from its own log (OLLAMA_DEBUG): its answers count every token of a prompt.
"""

import asyncio
import hashlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
import psutil
import pytest

import embedded
from bench.llm.ollama_stage import loads
from embedded.model_server import EngineOptions
from embedded.ollama import TEMPLATE, built
from embedded.process import Command
from embedded.synthetic import synthetic
from fluido.llm import Call, Delta, Dispatcher, Message, OllamaEngine, Options, Timings
from tests.servers.absent import NO_OLLAMA

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.deep,
    pytest.mark.ollama,
    pytest.mark.skipif(built() is None, reason=NO_OLLAMA),
]
MODELS = ("one:latest", "two:latest")
SYSTEM = Message("system", "You are Sentinel, a careful guide. " * 3)
WORDS = ["quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "near", "some", "river", "bank"]
FOUND = re.compile(r'msg="loading cache slot" id=\d+ cache=\d+ prompt=(\d+) used=(\d+)')
HELD_S = 12.0


class Talkative(embedded.Ollama):
    """An Ollama that says what it finds again, with models whose Modelfile says nothing about a window."""

    def command(self) -> Command:
        plain = super().command()
        return replace(plain, environment={**plain.environment, "OLLAMA_DEBUG": "1"})

    def make_models(self) -> None:
        with self.model.path.open("rb") as weights:
            digest = "sha256:" + hashlib.file_digest(weights, "sha256").hexdigest()
        files = {self.model.path.name: digest}
        for name in MODELS:
            body = {"model": name, "files": files, "template": TEMPLATE, "stream": False}
            body["parameters"] = {"num_thread": 1}
            self._post("/api/create", body)

    def found(self) -> tuple[int, int]:
        """Of how many tokens of prompts, and how many were found again, since it was started first."""
        pairs = FOUND.findall(self.log.read_text())
        return sum(int(prompt) for prompt, _ in pairs), sum(int(used) for _, used in pairs)


@pytest.fixture(scope="module", params=[(1, 1024), (2, 1024), (4, 1024), (1, 8192), (2, 8192), (4, 8192)])
def ollama(request, ground_folder) -> Iterator[Talkative]:
    slots, window = request.param
    options = EngineOptions(slots=slots, slot_tokens=window)
    server = Talkative(ground_folder, synthetic(), options, folder=f"ollama-{slots}-{window}")
    try:
        server.start()
        server.make_models()
        yield server
    finally:
        server.stop()


def turn_of(name: str, turn: int, times: int = 1) -> Message:
    return Message("user", f"{name} asks {turn}: " + " ".join(name + word for word in WORDS * times))


def say(messages: list[Message], name: str, tokens: int = 6, **more: object) -> Call:
    options = Options(num_predict=tokens, temperature=0.0, seed=1)
    return Call(tuple(messages), conversation=name, options=options, **more)  # type: ignore[arg-type]


async def ours(dispatcher: Dispatcher, messages: list[Message], name: str) -> Timings:
    items = [item async for item in dispatcher.stream(say(messages, name))]
    said = "".join(item.text for item in items if isinstance(item, Delta))
    messages.append(Message("assistant", said.strip() or "ok"))
    assert isinstance(items[-1], Timings)
    return items[-1]


async def bare(url: str, messages: list[Message], model: str = MODELS[0]) -> None:
    """A client without a gateway."""
    body = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "options": {"num_predict": 6, "temperature": 0.0, "seed": 1},
        "stream": False,
    }
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/chat", json=body) as reply:
        said = await reply.json()
    messages.append(Message("assistant", said["message"]["content"].strip() or "ok"))


@asynccontextmanager
async def through(server: Talkative) -> AsyncIterator[Dispatcher]:
    async with Dispatcher([OllamaEngine(server.url, model=MODELS[0])]) as dispatcher:
        yield dispatcher


async def talks_in_turn(server: Talkative, asked, prefix: str) -> tuple[int, int]:
    """Three conversations, three turns: tokens of the later turns' prompts, and how many were found again."""
    talks = {f"{prefix}{letter}": [SYSTEM] for letter in "abc"}
    before = (0, 0)
    for turn in range(3):
        for name, messages in talks.items():
            messages.append(turn_of(name, turn))
            await asked(messages, name)
        if turn == 0:
            before = server.found()
    after = server.found()
    return after[0] - before[0], after[1] - before[1]


async def test_later_turns_find_what_a_bare_client_finds_and_nothing_is_loaded_again(ollama) -> None:
    await bare(ollama.url, [Message("user", "hello")])
    before = loads(ollama)
    plain_prompt, plain = await talks_in_turn(ollama, lambda m, _: bare(ollama.url, m), "p")
    async with through(ollama) as dispatcher:
        prompt, found = await talks_in_turn(ollama, lambda m, n: ours(dispatcher, m, n), "o")
        alone = [SYSTEM, turn_of("alone", 0)]
        first = await ours(dispatcher, alone, "alone")
        alone.append(turn_of("alone", 1))
        start = ollama.found()[1]
        await ours(dispatcher, alone, "alone")
    print(f"{ollama.folder.name}: found again bare {plain}/{plain_prompt}, ours {found}/{prompt}")
    assert prompt >= 0.9 * plain_prompt, "nothing was cut"
    assert found >= 0.9 * plain
    assert ollama.found()[1] - start >= 0.9 * first.prompt_tokens
    assert loads(ollama) == before


async def test_turns_beyond_the_window_are_cut_and_not_refused(ollama) -> None:
    window = ollama.options.slot_tokens
    async with through(ollama) as dispatcher:
        messages, longest, dropped = [SYSTEM], 0, 0
        await ours(dispatcher, [SYSTEM, turn_of("warm", 0)], "warm")
        before = loads(ollama)
        for turn in range(8):
            messages.append(turn_of("long", turn, times=window // 200))
            end = await ours(dispatcher, messages, "long")
            longest, dropped = max(longest, end.prompt_tokens), max(dropped, end.dropped_messages)
        assert dispatcher.stations[0].facts.context_tokens == window
        assert window / 2 < longest <= window
        assert dropped > 0
        assert dispatcher.stats().failed == 0
        assert loads(ollama) == before


async def test_an_outsiders_conversation_finds_beside_ours_what_it_finds_beside_a_bare_client(ollama) -> None:
    async def beside(asked, prefix: str) -> int:
        """The tokens that an outsider finds again, in turn with somebody."""
        outsider, somebody, found = [SYSTEM], [SYSTEM], 0
        for turn in range(4):
            somebody.append(turn_of(prefix, turn))
            await asked(somebody, prefix)
            outsider.append(turn_of(f"x{prefix}", turn))
            before = ollama.found()[1]
            await bare(ollama.url, outsider)
            found += ollama.found()[1] - before
        return found

    plain = await beside(lambda m, _: bare(ollama.url, m), "q")
    async with through(ollama) as dispatcher:
        found = await beside(lambda m, n: ours(dispatcher, m, n), "r")
    print(f"{ollama.folder.name}: an outsider finds {plain} beside a bare client, {found} beside ours")
    assert found >= 0.9 * plain


async def test_several_models_on_one_ollama_cost_no_more_loads_than_a_bare_client(ollama) -> None:
    order = [MODELS[n] for n in (0, 1, 1, 0, 0, 1)]
    await bare(ollama.url, [Message("user", "hello")], MODELS[0])
    before = loads(ollama)
    for number, model in enumerate(order):
        await bare(ollama.url, [SYSTEM, turn_of("m", number)], model)
    plain = loads(ollama) - before
    await bare(ollama.url, [Message("user", "hello")], MODELS[0])
    before = loads(ollama)
    async with through(ollama) as dispatcher:
        for number, model in enumerate(order):
            items = [i async for i in dispatcher.stream(say([SYSTEM, turn_of("n", number)], "", model=model))]
            assert items[-1].model == model
        assert dispatcher.stats().failed == 0
    assert loads(ollama) - before <= plain


async def hold_runners(server: Talkative, held: set[int]) -> None:
    """Stop each runner of a model for `HELD_S` when it comes: a load that takes so long."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(psutil.Error):
            for child in psutil.Process(server.child.pid).children(recursive=True):
                if child.pid not in held and "--model" in child.cmdline():
                    held.add(child.pid)
                    os.kill(child.pid, signal.SIGSTOP)
                    loop.call_later(HELD_S, os.kill, child.pid, signal.SIGCONT)
        await asyncio.sleep(0.02)


async def test_a_restart_with_a_load_of_twelve_seconds_ends_in_answers(ollama) -> None:
    """Case 2: killed while one answer streams; who came before and who comes meanwhile waits for one load."""
    if (ollama.options.slots, ollama.options.slot_tokens) not in {(1, 8192), (4, 1024)}:
        return  # the same in each shape, and dear
    async with through(ollama) as dispatcher:
        await ours(dispatcher, [SYSTEM, turn_of("s", 0)], "s")
        clock = time.perf_counter
        open_stream = dispatcher.stream(say([Message("user", "go on")], "t", tokens=3000))
        assert isinstance(await anext(open_stream), Delta)
        held: set[int] = set()
        os.kill(ollama.child.pid, signal.SIGKILL)
        with suppress(Exception):
            async for _ in open_stream:
                pass
        calls = [say([SYSTEM, turn_of("s", n)], f"s{n}", deadline_s=clock() + 120) for n in range(3)]

        async def timed(call: Call) -> float:
            items = [item async for item in dispatcher.stream(call)]
            assert isinstance(items[-1], Timings)
            return clock()

        waiting = [asyncio.create_task(timed(call)) for call in calls[:2]]
        while ollama.running:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)
        before = loads(ollama)
        begin = asyncio.create_task(asyncio.to_thread(ollama.start))
        holder = asyncio.create_task(hold_runners(ollama, held))
        await begin
        back_s = clock()
        waiting.append(asyncio.create_task(timed(calls[2])))
        ends = await asyncio.gather(*waiting)
        holder.cancel()
        print(f"{ollama.folder.name}: answered {max(ends) - back_s:.1f} s after the start, held {HELD_S} s")
        assert loads(ollama) - before == len(held) == 1, "one load, which nobody broke off"
        assert max(ends) - back_s < HELD_S + 6.0, "2 s on a machine of one's own"
