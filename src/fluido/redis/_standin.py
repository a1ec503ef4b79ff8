"""Letting redis-py's own methods run, with one step of them done in our way.

A tracer (OpenTelemetry, Sentry, Datadog) wraps `redis.asyncio.Redis.execute_command` and
`redis.asyncio.client.Pipeline.execute`. What is called through here is called as the stock client calls it,
so that the span lies around our call too; redis-py's own recorder sees it as well.
"""

from collections.abc import Coroutine, Iterable
from typing import Any

import redis.asyncio.client
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fluido.redis._adapter import Reply, observed, plain

_client: Any = redis.asyncio.client.Redis
_pipeline: Any = redis.asyncio.client.Pipeline


class Standin:
    """Is `self` for redis-py's code: the client or pipeline it stands for, but for what `own` names."""

    def __init__(self, original: Any, **own: Any) -> None:
        vars(self).update(own, _original=original)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_original"], name)

    # isinstance() asks here
    __class__ = property(lambda self: type(vars(self)["_original"]))


class Inert:
    """Stands in for the connection of a command that travels over the shared one."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.host = settings.get("host")
        self.port = settings.get("port")
        self.db = settings.get("db", 0)
        self.retry = Retry(NoBackoff(), 0)  # what is shared has its own

    async def disconnect(self, *_: Any, **__: Any) -> None:
        """There is nothing to close."""

    def should_reconnect(self) -> bool:
        """Never."""
        return False


async def execute_command(standin: Standin, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """redis-py's `Redis.execute_command`, or what wraps it, with `standin` as self."""
    return await vars(_client)["execute_command"].__get__(standin, _client)(*args, **options)


async def execute(standin: Any, raise_on_error: bool) -> list[Any]:
    """redis-py's `Pipeline.execute`, or what wraps it, with `standin` as self."""
    arguments = () if raise_on_error else (False,)  # tracers see what their users write
    result: list[Any] = await vars(_pipeline)["execute"].__get__(standin, _pipeline)(*arguments)
    return result


class Once:
    """A step of redis-py's that is not repeated after it has begun to send: its error passes redis-py's
    Retry unseen."""

    def __init__(self, step: Any) -> None:
        self._step = step

    def bound(self, client: Any) -> Any:
        """The step as a method of `client`."""

        async def step(connection: Any, *args: Any, **options: Any) -> Any:
            if not connection.is_connected:
                await connection.connect()
            try:
                return await self._step(client, connection, *args, **options)
            except RedisError as error:
                raise _Passing(error) from error

        return step

    @staticmethod
    async def run(call: Coroutine[Any, Any, Any]) -> Any:
        """Await what such a step is part of; its error is raised as it was."""
        try:
            return await call
        except _Passing as passing:
            raise passing.error from passing.error.__cause__


class _Passing(Exception):
    def __init__(self, error: RedisError) -> None:
        super().__init__(error)
        self.error = error


class Wrapping:
    """Whether redis-py's methods are wrapped. `method` is redis-py's own `execute_command`, once seen."""

    method: Any = None

    def of_commands(self) -> bool:
        """Whether somebody wraps `execute_command`, or redis-py's recorder is on."""
        if plain(_client, "execute_command"):
            self.method = _client.execute_command
            return observed()
        return True

    @staticmethod
    def of_pipelines() -> bool:
        """Whether somebody wraps `Pipeline.execute`, or redis-py's recorder is on."""
        return not plain(_pipeline, "execute") or observed()


WRAPPING = Wrapping()
WRAPPING.of_commands()


class Replay:
    """Stands in for the connection while redis-py's own code reads the replies of a run, in order."""

    def __init__(self, connection: AbstractConnection, replies: list[Reply]) -> None:
        self._connection = connection
        self._replies = iter(replies)

    def pack_commands(self, _commands: Iterable[Any]) -> list[bytes]:
        """The run was packed and sent before."""
        return []

    async def send_packed_command(self, _packed: Any) -> None:
        """The run was packed and sent before."""

    async def read_response(self, **_: Any) -> Reply:
        """The next reply; an error is raised as a connection raises it."""
        reply = next(self._replies)
        if isinstance(reply, Exception):
            raise reply from None
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
