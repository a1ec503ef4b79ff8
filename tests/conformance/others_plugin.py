"""A pytest plugin for the suites of other projects: what they expect to find on localhost, or in a container.

`OTHERS_PORT` is the port of the server of this run: what a suite asks for on one of `ASKED` it gets there.
`redis_plugin.py` beside this file swaps the class.
"""

import os
import sys
from types import ModuleType
from typing import Any, Self

import pytest
import redis.asyncio.connection
import redis.connection

PORT = int(os.environ["OTHERS_PORT"])
ASKED = (6379, 7000, 7379)


def moved(plain: Any) -> Any:
    """The constructor of a connection, which finds our server where the suite asks for its own."""

    def made(self: Any, *args: Any, **options: Any) -> None:
        plain(self, *args, **options)
        if self.port in ASKED:
            self.host, self.port = "127.0.0.1", PORT

    return made


for module in (redis.connection, redis.asyncio.connection):
    module.Connection.__init__ = moved(module.Connection.__init__)  # type: ignore[method-assign]  # the point


class Container:
    """The server of this run, where arq and langgraph start a container."""

    port = 6379

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def start(self, *_: Any) -> None:
        """Already up."""

    def stop(self) -> None:
        """Stopped by who started it."""

    def wait_for_service(self, *_: Any) -> None:
        """Already up."""

    def get_container_host_ip(self) -> str:
        return "127.0.0.1"

    def get_exposed_port(self, _: int) -> int:
        return PORT

    def get_service_host_and_port(self, *_: Any) -> tuple[str, int]:
        return "127.0.0.1", PORT


for name, kind in (("redis", "RedisContainer"), ("compose", "DockerCompose")):
    package = sys.modules.setdefault("testcontainers", ModuleType("testcontainers"))
    part = ModuleType(f"testcontainers.{name}")
    setattr(part, kind, Container)
    setattr(package, name, part)
    sys.modules[part.__name__] = part


@pytest.fixture(scope="session")
def docker_services() -> Container:
    """limits asks for its services by name."""
    return Container()
