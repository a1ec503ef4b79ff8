"""Pipelines and transactions without WATCH: one contiguous run on the shared connection."""

from collections.abc import Callable, Iterable
from typing import Any

from redis.asyncio.client import Pipeline as StockPipeline
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from fluido.redis.adapter import Reply, Unfit
from fluido.redis.link import Link
from fluido.redis.mux import Mux
from fluido.redis.retrying import Answer, Failure, attempt, persist, repeatable
from fluido.redis.routing import Kind, kind_of

# A longer run would keep everybody else waiting: it takes a connection of its own.
MAX_COMMANDS = 1000
MAX_BYTES = 512 << 10


class TooLong(Exception):
    """The run is larger than one may put on a shared connection."""


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


class Pipeline(StockPipeline):
    """As redis-py's. `execute` sends over the shared connection what may travel there, in one piece.

    After WATCH, with a command that is not made for sharing, or above 1,000 commands or 512 KiB, it is
    redis-py's own pipeline on a connection of its own.
    """

    def __init__(
        self,
        connection_pool: ConnectionPool,
        response_callbacks: Any,
        transaction: bool,
        shard_hint: str | None,
        multiplexer: Callable[[], Mux | None],
    ) -> None:
        super().__init__(connection_pool, response_callbacks, transaction, shard_hint)
        self._multiplexer = multiplexer

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute all the commands in the current pipeline."""
        mux = None if self.watching or self.connection is not None else self._multiplexer()
        stack = self.command_stack
        if not stack or mux is None or not self._may_share(stack):
            return await super().execute(raise_on_error)
        if self.scripts:  # loading them takes a connection: the rest goes over it
            return await super().execute(raise_on_error)
        in_block = self.is_transaction or self.explicit_transaction
        run = [args for args, options in stack if not (in_block and EMPTY_RESPONSE in options)]
        raw = (
            frozenset[int]()
            if in_block
            else frozenset(i for i, (_, options) in enumerate(stack) if NEVER_DECODE in options)
        )
        try:
            answer = await self._send(mux, [("MULTI",), *run, ("EXEC",)] if in_block else run, raw)
        except (Unfit, TooLong):
            return await super().execute(raise_on_error)
        except BaseException:
            await self._clear()
            raise
        parse = self._execute_transaction if in_block else self._execute_pipeline
        replay: Any = Replay(answer.link.wire.connection, answer.replies)
        try:
            return list(await parse(replay, stack, raise_on_error))
        finally:
            await self._clear()

    async def _clear(self) -> None:
        stock: Any = super()
        await stock.reset()

    def _may_share(self, stack: list[Any]) -> bool:
        return len(stack) <= MAX_COMMANDS and all(kind_of(args) is Kind.SHARED for args, _ in stack)

    async def _send(self, mux: Mux, run: list[tuple[Any, ...]], raw: frozenset[int]) -> Answer:
        again = repeatable(mux.sharing, run[1:-1] if run[0] == ("MULTI",) else run)

        def packed(link: Link) -> list[bytes]:
            pieces = [link.wire.pack_in_python(args) for args in run]
            if sum(map(len, pieces)) > MAX_BYTES:
                raise TooLong
            return pieces

        async def send() -> Answer | Failure:
            return await attempt(mux, run, packed, raw, repeatable=again)

        return await persist(mux, await send(), send)
