"""G15: from `pip install` (its packages in the cache) to the first answer, as a new user types it."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.gateway.arms import BACKEND, Arm, free_port
from bench.gateway.client import ask
from bench.gateway.result import Result
from bench.llm.ollama_stage import served
from embedded.model_server import EngineOptions

PROMISE = "from pip install (warm cache) to the first answer at most 60 s, no file to write"
MOST_S = 60.0


async def first_minute() -> Result:
    """A fresh environment, the gateway's extra from this source, a real Ollama that already runs."""
    async with served(EngineOptions(slots=2, slot_tokens=2048)) as server:
        with tempfile.TemporaryDirectory() as folder:
            return await asyncio.to_thread(_typed, Path(folder), server.url, server.model.name)


def _typed(folder: Path, url: str, model: str) -> Result:
    began_s = time.perf_counter()
    took: dict[str, object] = {}

    def done(what: str) -> None:
        took[what] = round(time.perf_counter() - began_s, 1)

    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    done("environment_s")
    pip = [str(folder / "env/bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, f"{BACKEND.parent}[gateway]"], check=True)
    done("installed_s")
    port = free_port()
    process = subprocess.Popen(
        [str(folder / "env/bin/fluido"), "gateway", "--engine", url, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        heard = asyncio.run(_answer(port, model))
        done("answered_s")
    finally:
        process.kill()
        process.wait()
    total_s = time.perf_counter() - began_s
    return Result(
        "G15",
        PROMISE,
        {"fluido": took},
        {"seconds": round(total_s, 1)},
        heard and total_s <= MOST_S,
    )


async def _answer(port: int, model: str) -> bool:
    async with asyncio.timeout(MOST_S):
        while True:
            try:
                return (await ask(Arm("", port), api="ollama", model=model, words=4)).is_whole
            except OSError:
                await asyncio.sleep(0.05)
