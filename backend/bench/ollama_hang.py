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
from embedded.synthetic import Shape, synthetic
from fluido.llm import Call, Dispatcher, Message, OllamaEngine, Options, RunnerProfile, Timings

STEADY = 6
STEADY_CTX = 1024
ODD_CTX = 2048
WARM_UP_S = 3.0
ODD_PAUSE_S = 1.0
OUTPUT_TOKENS = 64
THREADS = 1  # two of them spin for each other on a machine that others use: 0.3 s a call instead of 0.02
LATE_PATIENCE_S = 60.0
# Clients that want their model to stay send this; each such call also takes back the mark "to be unloaded"
# that the odd one's load waits for. Without it, the odd one is served when all pause at once by chance.
KEEP_ALIVE = "30m"
# A call takes some 20 ms, so a minute without an answer is three thousand times its length.
TINY = Shape(layers=2, width=128, heads=2, key_heads=1, hidden=256)

Ask = Callable[[int, int], Awaitable[tuple[str, ...]]]
"""(caller, num_ctx) -> what the caller was told; returns when the answer is complete."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way of asking, for `duration_s`.

    `odd_longest_s` is the longest that the odd one waited, answered or not; `odd_hung`: the last time it was
    not answered at all.
    """

    way: str
    duration_s: float
    steady_answers: int
    steady_longest_s: float
    odd_answers: int
    odd_longest_s: float
    odd_hung: bool
    late_load_answered: bool
    late_load_wait_s: float
    told: tuple[str, ...]


class Scene:
    """The steady callers, the odd one, and when all is quiet one who needs a load again."""

    def __init__(
        self,
        ask: Ask,
        way: str,
        duration_s: float,
        *,
        late_patience_s: float = LATE_PATIENCE_S,
        warm_up_s: float = WARM_UP_S,
        odd_pause_s: float = ODD_PAUSE_S,
    ) -> None:
        self._ask = ask
        self._way = way
        self._duration_s = duration_s
        self._late_patience_s = late_patience_s
        self._warm_up_s = warm_up_s
        self._odd_pause_s = odd_pause_s
        self._ended = asyncio.Event()
        self._steady: list[float] = []
        self._odd: list[float] = []
        self._told: tuple[str, ...] = ()

    async def _steadily(self, caller: int) -> None:
        while not self._ended.is_set():
            began_s = time.perf_counter()
            await self._ask(caller, STEADY_CTX)
            self._steady.append(time.perf_counter() - began_s)

    async def _oddly(self) -> bool:
        """Ask again and again until the time is over; whether the last one hung."""
        until_s = time.perf_counter() + self._duration_s
        while (left_s := until_s - time.perf_counter()) > 0:
            began_s = time.perf_counter()
            try:
                async with asyncio.timeout(left_s):
                    self._told = await self._ask(STEADY, ODD_CTX)
            except TimeoutError:
                self._odd.append(time.perf_counter() - began_s)
                # cut off by the end of the scene, not by patience: only a long wait is a hang
                return self._odd[-1] > self._duration_s / 2
            self._odd.append(time.perf_counter() - began_s)
            await asyncio.sleep(min(self._odd_pause_s, max(0.0, until_s - time.perf_counter())))
        return False

    async def run(self) -> Outcome:
        """The whole scene."""
        await self._ask(0, STEADY_CTX)  # the first load is not part of the scene
        crew = [asyncio.create_task(self._steadily(caller)) for caller in range(STEADY)]
        await asyncio.sleep(self._warm_up_s)
        hung = await self._oddly()
        self._ended.set()
        await asyncio.wait(crew, timeout=self._late_patience_s)
        for task in crew:
            task.cancel()
        await asyncio.gather(*crew, return_exceptions=True)
        began_s, late = time.perf_counter(), False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._late_patience_s):
                await self._ask(STEADY + 1, ODD_CTX)
                late = True
        return Outcome(
            way=self._way,
            duration_s=self._duration_s,
            steady_answers=len(self._steady),
            steady_longest_s=max(self._steady, default=0.0),
            odd_answers=len(self._odd) - hung,
            odd_longest_s=max(self._odd, default=0.0),
            odd_hung=hung,
            late_load_answered=late,
            late_load_wait_s=time.perf_counter() - began_s,
            told=self._told,
        )


async def bare(url: str, model: str, duration_s: float) -> Outcome:
    """Every caller asks Ollama itself."""
    patient = aiohttp.ClientTimeout(total=None)
    link = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=link, timeout=patient) as session:

        async def ask(caller: int, num_ctx: int) -> tuple[str, ...]:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": f"caller {caller} asks"}],
                "keep_alive": KEEP_ALIVE,
                "options": {"num_ctx": num_ctx, "num_predict": OUTPUT_TOKENS, "num_thread": THREADS},
            }
            async with session.post(f"{url}/api/chat", json=body) as reply:
                await reply.read()
            return ()

        return await Scene(ask, "bare Ollama", duration_s).run()


async def through_us(url: str, model: str, duration_s: float) -> Outcome:
    """Every caller asks the dispatcher, with the same wishes."""
    engine = OllamaEngine(url, model=model, profile=RunnerProfile(num_thread=THREADS))
    async with Dispatcher([engine]) as dispatcher:

        async def ask(caller: int, num_ctx: int) -> tuple[str, ...]:
            call = Call(
                (Message("user", f"caller {caller} asks"),),
                options=Options(num_predict=OUTPUT_TOKENS),
                key=str(caller),
                runner={"num_ctx": num_ctx, "num_thread": THREADS},
            )
            notes: tuple[str, ...] = ()
            async with aclosing(dispatcher.stream(call)) as stream:
                async for item in stream:
                    if isinstance(item, Timings):
                        notes = item.notes
            return notes

        return await Scene(ask, "through fluido", duration_s).run()


async def run(duration_s: float) -> list[Outcome]:
    """Each way on a fresh Ollama with two slots and a tiny model of random weights: the loader counts."""
    outcomes = []
    data = DataFolder(None)
    try:
        for way in (bare, through_us):
            options = EngineOptions(slots=2, slot_tokens=STEADY_CTX)
            server = embedded.Ollama(data.take(), synthetic(shape=TINY), options)
            await asyncio.to_thread(server.start)
            try:
                outcomes.append(await way(server.url, server.model.name, duration_s))
            finally:
                await asyncio.to_thread(server.stop)
            print(json.dumps(asdict(outcomes[-1])), flush=True)
    finally:
        data.release()
    return outcomes


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.ollama_hang", description=__doc__)
    parser.add_argument("--duration-s", type=float, default=45.0, help="how long the odd one comes and asks")
    for outcome in asyncio.run(run(parser.parse_args().duration_s)):
        odd = "hung" if outcome.odd_hung else "never hung"
        late = "answered" if outcome.late_load_answered else "NOT answered"
        print(
            f"{outcome.way:15} {outcome.duration_s:.0f} s: {outcome.steady_answers} steady answers "
            f"(longest {outcome.steady_longest_s:.2f} s); the odd one {odd}, {outcome.odd_answers} answers, "
            f"longest wait {outcome.odd_longest_s:.2f} s; a load afterwards {late} after "
            f"{outcome.late_load_wait_s:.1f} s"
        )


if __name__ == "__main__":
    main()
