"""A real Ollama of our own for one measurement, and its log as the witness of loads."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import embedded
from embedded.folder import DataFolder
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic

# One line for each runner that serves a model; the one that only looks for GPUs names no model.
STARTED = re.compile(r'msg="starting runner" cmd=".* --model ')


@asynccontextmanager
async def served(options: EngineOptions) -> AsyncIterator[embedded.Ollama]:
    """An Ollama of our own with random weights, a tenth of the work of real ones."""
    data = DataFolder(None)
    try:
        server = embedded.Ollama(data.take(), synthetic(), options)
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
