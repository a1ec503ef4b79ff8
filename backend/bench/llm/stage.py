"""Engines for a comparison, one for each arm.

Arms do not empty each other's caches, and idle ones cost nothing.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import embedded
from bench.llm import ollama_stage
from embedded.ground import EngineName
from embedded.model_server import EngineOptions
from fluido.llm import RunnerProfile

Dialect = Literal["llamacpp", "ollama"]
NEVER_ENDS = {"ignore_eos": True}
# Two threads of ggml wait for each other by spinning; the load and the arms need the other core.
ONE_THREAD = RunnerProfile(num_thread=1)


@dataclass(frozen=True, slots=True)
class Kitchen:
    """How each engine is cut: as `make run` does it. One core is left to the load and the arms."""

    engine: EngineName = "synthetic"
    slots: int = 4
    slot_tokens: int = 2048
    prompt_cache_mib: int = 256
    threads: int = max(1, (os.cpu_count() or 2) - 1)
    light: bool = False  # random weights in Ollama too: a tenth of the work, the same for who schedules it

    @property
    def dialect(self) -> Dialect:
        """What they speak."""
        return "ollama" if self.engine == "ollama" else "llamacpp"

    def options(self) -> EngineOptions:
        """For the embedded ground."""
        return EngineOptions(
            slots=self.slots,
            slot_tokens=self.slot_tokens,
            prompt_cache_mib=self.prompt_cache_mib,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True)
class Served:
    """An engine that runs."""

    url: str
    model: str
    line: str


@asynccontextmanager
async def engines(kitchen: Kitchen, count: int) -> AsyncIterator[list[Served]]:
    """`count` engines of their own, started one after the other (a start takes all cores)."""
    async with AsyncExitStack() as closing:
        served = []
        for _ in range(count):
            if kitchen.light and kitchen.engine == "ollama":
                served.append(await closing.enter_async_context(_light(kitchen)))
                continue
            ground = embedded.stack(
                engine=kitchen.engine,
                postgres=False,
                redis=False,
                engine_options=kitchen.options(),
            )
            stack = await closing.enter_async_context(ground)
            served.append(Served(stack.engine_url, stack.model or "", stack.describe()[-2]))
            await asyncio.sleep(0)
        yield served


@asynccontextmanager
async def _light(kitchen: Kitchen) -> AsyncIterator[Served]:
    async with ollama_stage.served(kitchen.options()) as server:
        yield Served(server.url, server.model.name, server.describe())
