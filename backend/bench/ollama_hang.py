"""`python -m bench.ollama_hang`: two clients that disagree on `num_ctx` hang Ollama; with ours in front, not.

Six callers ask without pause with one window, and one comes along with another (ollama/ollama#14407). Asked
directly, Ollama's loader waits for a moment without calls that never comes: the odd one is not served, and
whoever needs a load afterwards is not either. Through the dispatcher nobody's runner options reach Ollama:
the odd one is answered with the window that is loaded, and told so.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass

import aiohttp

import embedded
from embedded.folder import DataFolder
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic
from fluido.llm import Call, Dispatcher, Message, OllamaEngine, Options, Timings

STEADY = 6
STEADY_CTX = 1024
ODD_CTX = 2048
WARM_UP_S = 3.0
OUTPUT_TOKENS = 24

Ask = Callable[[int, int], Awaitable[tuple[str, ...]]]
"""(caller, num_ctx) -> what the caller was told; returns when the answer is complete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way of asking. `odd_wait_s` is how long the odd one waited, answered or not."""

    way: str
    steady_answers: int
    odd_answered: bool
    odd_wait_s: float
    late_load_answered: bool
    late_load_wait_s: float
    told: tuple[str, ...]


async def watched(ask: Ask, way: str, patience_s: float, warm_up_s: float = WARM_UP_S) -> Outcome:
    """Run the scene: the steady callers, the odd one, and when all is quiet one who needs a load again."""
    answers = 0
    ended = asyncio.Event()

    async def steady(caller: int) -> None:
        nonlocal answers
        while not ended.is_set():
            await ask(caller, STEADY_CTX)
            answers += 1

    await ask(0, STEADY_CTX)  # the first load is not part of the scene
    crew = [asyncio.create_task(steady(caller)) for caller in range(STEADY)]
    await asyncio.sleep(warm_up_s)
    odd_answered, odd_wait_s, told = await _within(ask, STEADY, ODD_CTX, patience_s)
    ended.set()
    await asyncio.wait(crew, timeout=patience_s)
    for task in crew:
        task.cancel()
    await asyncio.gather(*crew, return_exceptions=True)
    late_answered, late_wait_s, _ = await _within(ask, STEADY + 1, ODD_CTX, patience_s)
    return Outcome(way, answers, odd_answered, odd_wait_s, late_answered, late_wait_s, told)


async def _within(
    ask: Ask, caller: int, num_ctx: int, patience_s: float
) -> tuple[bool, float, tuple[str, ...]]:
    began_s = time.perf_counter()
    told: tuple[str, ...] = ()
    answered = False
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            told = await ask(caller, num_ctx)
            answered = True
    return answered, time.perf_counter() - began_s, told


async def bare(url: str, model: str, patience_s: float) -> Outcome:
    """Every caller asks Ollama itself."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(caller: int, num_ctx: int) -> tuple[str, ...]:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": f"caller {caller} asks"}],
                "options": {"num_ctx": num_ctx, "num_predict": OUTPUT_TOKENS},
            }
            async with session.post(f"{url}/api/chat", json=body) as reply:
                await reply.read()
            return ()

        return await watched(ask, "bare Ollama", patience_s)


async def through_us(url: str, model: str, patience_s: float) -> Outcome:
    """Every caller asks the dispatcher, with the same wishes."""
    async with Dispatcher([OllamaEngine(url, model=model)]) as dispatcher:

        async def ask(caller: int, num_ctx: int) -> tuple[str, ...]:
            call = Call(
                (Message("user", f"caller {caller} asks"),),
                options=Options(num_predict=OUTPUT_TOKENS),
                key=str(caller),
                runner={"num_ctx": num_ctx},
            )
            notes: tuple[str, ...] = ()
            async with aclosing(dispatcher.stream(call)) as stream:
                async for item in stream:
                    if isinstance(item, Timings):
                        notes = item.notes
            return notes

        return await watched(ask, "through fluido", patience_s)


async def run(patience_s: float) -> list[Outcome]:
    """Each way on a fresh Ollama with two slots and a model of random weights: the loader is what counts."""
    outcomes = []
    data = DataFolder(None)
    try:
        for way in (bare, through_us):
            options = EngineOptions(slots=2, slot_tokens=STEADY_CTX)
            server = embedded.Ollama(data.take(), synthetic(), options)
            await asyncio.to_thread(server.start)
            try:
                outcomes.append(await way(server.url, server.model.name, patience_s))
            finally:
                await asyncio.to_thread(server.stop)
            print(json.dumps(asdict(outcomes[-1])), flush=True)
    finally:
        data.release()
    return outcomes


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.ollama_hang", description=__doc__)
    parser.add_argument("--patience-s", type=float, default=45.0, help="how long the odd one waits at most")
    outcomes = asyncio.run(run(parser.parse_args().patience_s))
    for outcome in outcomes:
        odd = "answered" if outcome.odd_answered else "NOT answered"
        late = "answered" if outcome.late_load_answered else "NOT answered"
        print(
            f"{outcome.way:15} {outcome.steady_answers:4d} steady answers; the odd one {odd} after "
            f"{outcome.odd_wait_s:.1f} s; a load afterwards {late} after {outcome.late_load_wait_s:.1f} s"
        )


if __name__ == "__main__":
    main()
