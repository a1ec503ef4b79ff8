"""One arm as a process of its own: uvicorn on a loopback port, its log in a file."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import aiohttp

ROOT = Path(__file__).parents[2]
READY_S = 60.0
STOP_S = 10.0


class ServerError(Exception):
    """The arm did not start; the text says where its log is and how it ends."""


class ArmServer:
    """`async with ArmServer(...) as server:` serves `application` ("module:app") at `server.url`."""

    def __init__(self, application: str, environment: Mapping[str, str], log: Path) -> None:
        self._application = application
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start and wait until every dependency is ready. `ServerError` if it is not within a minute."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._spawn(listener.fileno())
        try:
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask it to end, insist after ten seconds. May be called twice."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    def _spawn(self, listener: int) -> None:
        """The child inherits the listening socket: no free port is looked for and lost again."""
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")])
        environment = {**os.environ, **self._environment, "PYTHONPATH": path}
        command = [sys.executable, "-m", "uvicorn", self._application, "--fd", str(listener)]
        options = ["--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "5"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(listener,),
                start_new_session=True,
            )

    async def _until_ready(self) -> None:
        until = time.monotonic() + READY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
            while time.monotonic() < until:
                if self._process is None or self._process.poll() is not None:
                    raise ServerError(f"{self._application} ended at once. {self._tail()}")
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(self.url + "/health/ready") as reply:
                        if reply.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise ServerError(f"{self._application} was not ready within {READY_S:g} s. {self._tail()}")

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-5:]
        return "Its log ends: " + " | ".join(lines) if lines else "Its log is empty."
