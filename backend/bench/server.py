"""One arm as a process of its own: uvicorn on a loopback port, its log in a file."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from embedded import GroundError
from embedded.engine import healthy
from embedded.ports import free_port
from embedded.process import Child, Command

ROOT = Path(__file__).parents[2]
READY_S = 60.0
BUSY = "address already in use"
TRIES = 3


class ServerError(Exception):
    """The arm did not start; the text says where its log is and how it ends."""


class ArmServer:
    """`async with ArmServer(...) as server:` serves `application` ("module:app") at `server.url`.

    It runs behind the guardian of the embedded servers: when this process is killed, it ends too.
    """

    def __init__(self, application: str, environment: Mapping[str, str], log: Path) -> None:
        self._application = application
        self._environment = environment
        self._log = log
        self._child: Child | None = None
        self.url = ""

    @property
    def pid(self) -> int | None:
        """Of the server itself, while it runs."""
        return self._child.pid if self._child is not None else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start and wait until every dependency is ready. `ServerError` if it is not within a minute."""
        for attempt in range(1, TRIES + 1):
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            child = self._child = Child(self._command(port))
            try:
                await asyncio.to_thread(self._until_ready, child)
            except GroundError as error:
                lost_the_port = BUSY in child.tail().lower()
                await self.stop()
                if not lost_the_port or attempt == TRIES:
                    raise ServerError(str(error)) from None
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def restart(self, environment: Mapping[str, str]) -> None:
        """The same application with other variables on top, at another address."""
        await self.stop()
        self._environment = {**self._environment, **environment}
        await self.start()

    async def stop(self) -> None:
        """Ask it to end, insist after seven seconds. May be called twice."""
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.stop)

    def _until_ready(self, child: Child) -> None:
        child.start()
        child.wait_until(lambda: healthy(f"{self.url}/health/ready", 5.0), READY_S)

    def _command(self, port: int) -> Command:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")])
        options = ["--log-level", "warning", "--no-access-log", "--timeout-graceful-shutdown", "5"]
        return Command(
            name=self._application,
            argv=(
                *(sys.executable, "-m", "uvicorn", self._application, "--host", "127.0.0.1"),
                *("--port", str(port), *options),
            ),
            folder=ROOT / "backend",
            log=self._log,
            run_file=self._log.with_suffix(".run.json"),
            environment={**self._environment, "PYTHONPATH": path},
            stop=((signal.SIGTERM, 7.0),),
        )
