"""A program of the caller's that serves HTTP, kept like the other servers: the replicas of `make ha`."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded.engine import healthy
from embedded.ports import free_port
from embedded.process import Command
from embedded.server import Server

READY = "/health/ready"


class Program(Server):
    """`argv` reads its port from the environment (`PORT`); it serves when `/health/ready` says 200."""

    def __init__(
        self,
        data_dir: Path,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        name: str,
        home: Path,
    ) -> None:
        super().__init__(data_dir, folder=name, port=free_port())
        self.name = name
        self.environment = dict(environment)
        self._argv = tuple(argv)
        self._home = home

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def describe(self) -> str:
        return f"{self.name} at {self.url}"

    def prepare(self) -> None:
        """Everything is the caller's."""

    def command(self) -> Command:
        return Command(
            name=self.name,
            argv=self._argv,
            folder=self._home,
            log=self.log,
            run_file=self.run_file,
            environment={**self.environment, "HOST": "127.0.0.1", "PORT": str(self.port)},
            # what a replica announces, its grace and its last words fit in
            stop=((signal.SIGTERM, 9.0),),
        )

    def answers(self) -> bool:
        return healthy(f"{self.url}{READY}", wait_s=2.0)
