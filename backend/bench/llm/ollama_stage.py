"""A real Ollama of our own for one measurement, and its log as the witness of loads."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import embedded
from embedded.folder import DataFolder
from embedded.model_server import EngineOptions
from embedded.process import Command
from embedded.synthetic import synthetic
from fluido.llm import Call, Delta, Dispatcher, RunnerProfile, Timings

# Two threads of ggml wait for each other by spinning: beside other work a token takes many times as long.
PROFILE = RunnerProfile(num_thread=1)
# One line for each runner that serves a model; the one that only looks for GPUs names no model.
STARTED = re.compile(r'msg="starting runner" cmd=".* --model ')


class Multiuser(embedded.Ollama):
    """With the slot choice that Ollama offers for many users."""

    def command(self) -> Command:
        """The same program with one variable more."""
        plain = super().command()
        return replace(plain, environment={**plain.environment, "OLLAMA_MULTIUSER_CACHE": "1"})


@asynccontextmanager
async def served(slots: int, *, multiuser: bool = False) -> AsyncIterator[embedded.Ollama]:
    """An Ollama of our own with so many slots."""
    data = DataFolder(None)
    try:
        kind = Multiuser if multiuser else embedded.Ollama
        server = kind(data.take(), synthetic(), EngineOptions(slots=slots, slot_tokens=2048))
        await asyncio.to_thread(server.start)
        try:
            yield server
        finally:
            await asyncio.to_thread(server.stop)
    finally:
        data.release()


def loads(server: embedded.Ollama) -> int:
    """Models loaded so far."""
    return len(STARTED.findall(server.log.read_text()))


async def answered(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    """The text and how it ended."""
    text, end = "", None
    async with aclosing(dispatcher.stream(call)) as stream:
        async for item in stream:
            if isinstance(item, Delta):
                text += item.text
            else:
                end = item
    assert end is not None  # noqa: S101 - a stream that did not raise has its end
    return text, end
