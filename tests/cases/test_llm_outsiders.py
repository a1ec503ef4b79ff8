"""What our pins cost a client of the same llama.cpp that knows nothing of us: a ratio of times in one run."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

import embedded
from embedded.synthetic import synthetic
from fluido.llm import Dispatcher, EngineFacts, OpenAIEngine
from tests.cases.test_llm_slots import SHAPES, SYSTEM, ask, bare, turn_of

pytestmark = [pytest.mark.anyio, pytest.mark.servers, pytest.mark.deep]
TURNS, BLOCKS, TALKERS = 4, 8, 2
ARMS = ("with pins", "without pins", "bare")


class Unpinned(OpenAIEngine):
    """Ours without a pin: the engine chooses every slot."""

    async def facts(self, model: str = "") -> EngineFacts:
        return replace(await super().facts(model), pins_slots=False)


@pytest.fixture(params=["one buffer, RAM cache", "split, RAM cache", "split, no RAM cache"])
def server(request, ground_folder):
    folder = "outsider-" + request.param.replace(", ", "-").replace(" ", "-")
    running = embedded.Engine(ground_folder, synthetic(), SHAPES[request.param], folder=folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def traffic(url: str, arm: str, block: int, turns: int) -> AsyncIterator[None]:
    """`TALKERS` conversations of ours (or of a bare client) that go on for as long as the block lasts."""
    dispatcher = Dispatcher([OpenAIEngine(url) if arm == "with pins" else Unpinned(url)])

    async def talk(number: int) -> None:
        for talks in range(100):
            name, messages = f"{arm[:6]}{block}{number}{talks}", [SYSTEM]
            for turn in range(turns):
                messages.append(turn_of(name, turn))
                if arm == "bare":
                    await bare(url, messages, 12)
                else:
                    await ask(dispatcher, messages, name, 12)

    async with dispatcher:
        talkers = [asyncio.create_task(talk(number)) for number in range(TALKERS)]
        try:
            yield
        finally:
            for talker in talkers:
                talker.cancel()
            await asyncio.wait(talkers)


async def outsider_s(url: str, name: str) -> tuple[float, int]:
    """The seconds of an outsider's conversation, and how many tokens it found again."""
    messages, found, began_s = [SYSTEM], 0, time.perf_counter()
    for turn in range(TURNS):
        messages.append(turn_of(name, turn))
        found += (await bare(url, messages, 12))[0]
    return time.perf_counter() - began_s, found


async def test_an_outsider_pays_for_our_pins_at_most_what_he_pays_without(server) -> None:
    took: dict[str, list[float]] = {arm: [] for arm in ARMS}
    found = dict.fromkeys(ARMS, 0)
    turns = 3 if server.options.one_buffer else 6  # of three conversations, which have to fit one buffer
    for block in range(BLOCKS):
        for place in range(len(ARMS)):
            arm = ARMS[(place + block) % len(ARMS)]
            async with traffic(server.url, arm, block, turns):
                await asyncio.sleep(0.2)
                seconds, tokens = await outsider_s(server.url, f"out{arm[:6]}{block}")
            took[arm].append(seconds)
            found[arm] += tokens
    sums = {arm: statistics.median(times) for arm, times in took.items()}
    ratio = sums["with pins"] / sums["without pins"]
    print(
        f"{server.folder.name}: an outsider's time with our pins / without {ratio:.2f}, with / beside a bare "
        f"client {sums['with pins'] / sums['bare']:.2f}; found again {found}"
    )
    assert ratio < 1.5, "a generous line; docs/results/llm has the figures"
    assert found["with pins"] >= 0.8 * found["without pins"]
