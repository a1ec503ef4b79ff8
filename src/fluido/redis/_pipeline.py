"""Pipelines and transactions without WATCH: one contiguous run on the shared connection."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.client import Pipeline as StockPipeline
from redis.asyncio.connection import ConnectionPool
from redis.client import EMPTY_RESPONSE, NEVER_DECODE

from fluido.redis._adapter import Unfit, contiguous
from fluido.redis._bulk import key_of, reply_bytes
from fluido.redis._link import Link
from fluido.redis._mux import Mux
from fluido.redis._retrying import Answer, Failure, attempt, persist, repeatable, rough_bytes
from fluido.redis._routing import Kind, canonical, kind_of
from fluido.redis._sharing import Sharing
from fluido.redis._standin import WRAPPING, Inert, Once, Replay, Standin, execute

# A longer run would keep everybody else waiting: it takes a connection of its own.
MAX_COMMANDS = 1000
RUN_BYTES = 512 << 10  # of a run: many small commands delay others less than one large one
# The name under which a run is remembered whose replies were large together.
RUN = "PIPELINE"


class TooLong(Exception):
    """The run is larger than one may put on a shared connection."""


class Pipeline(StockPipeline):
    """As redis-py's. `execute` sends over the shared connection what may travel there, in one piece.

    After WATCH, with a command that is not made for sharing, above 1,000 commands or 512 KiB, or when the
    replies were larger than that before, it is redis-py's own pipeline on a connection of its
    own.
    """

    def __init__(
        self,
        connection_pool: ConnectionPool,
        response_callbacks: Any,
        transaction: bool,
        shard_hint: str | None,
        *,
        multiplexer: Callable[[], Mux | None],
        sharing: Sharing,
    ) -> None:
        super().__init__(connection_pool, response_callbacks, transaction, shard_hint)
        self._multiplexer = multiplexer
        self._sharing = sharing

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Execute all the commands in the current pipeline."""
        mux = None if self.watching or self.connection is not None else self._multiplexer()
        stack = self.command_stack
        if not stack or mux is None:
            return await execute(self, raise_on_error)
        run = [args for args, _ in stack]
        # Loading scripts takes a connection: the rest goes over it.
        if self.scripts or not self._may_share(mux, run):
            return await self._alone(mux, run, raise_on_error)
        if not WRAPPING.of_pipelines():
            try:
                return await self._shared(mux, stack, raise_on_error)
            except (Unfit, TooLong):
                return await self._alone(mux, run, raise_on_error)
            finally:
                await self._clear()
        await mux.prove()
        if mux.fallback is not None or rough_bytes(run) > _limit(mux):
            return await self._alone(mux, run, raise_on_error)

        async def step(_connection: Any, commands: Any, raise_on_error: bool) -> list[Any]:
            return await self._shared(mux, commands, raise_on_error)

        inert = Inert(self.connection_pool.connection_kwargs)
        return await execute(
            Standin(self, connection=inert, _execute_transaction=step, _execute_pipeline=step), raise_on_error
        )

    async def _shared(self, mux: Mux, stack: list[Any], raise_on_error: bool) -> list[Any]:
        """Over the shared connection; redis-py's own code reads the replies."""
        in_block = self.is_transaction or self.explicit_transaction
        run = [args for args, options in stack if not (in_block and EMPTY_RESPONSE in options)]
        raw = (
            frozenset[int]()
            if in_block
            else frozenset(i for i, (_, options) in enumerate(stack) if NEVER_DECODE in options)
        )
        read = self._execute_transaction if in_block else self._execute_pipeline

        async def parse(answer: Answer) -> list[Any]:
            replay: Any = Replay(answer.link.wire.connection, answer.replies)
            return list(await read(replay, stack, raise_on_error))

        answer = await self._send(mux, [("MULTI",), *run, ("EXEC",)] if in_block else run, raw, parse)
        limit = _limit(mux)
        if reply_bytes(answer.replies, limit) >= limit:
            mux.bulk.large(RUN, _signature(run))
        return answer.result or []

    async def _alone(self, mux: Mux, run: list[tuple[Any, ...]], raise_on_error: bool) -> list[Any]:
        """redis-py's own pipeline. Sent once, if the client's delivery is "safe" and it may not run twice."""
        await mux.settle()
        mux.tally.ordinary += 1
        for place, (args, options) in enumerate(self.command_stack):
            self.command_stack[place] = (contiguous(args), options)
        if self.watching or self.scripts or repeatable(self._sharing, run):
            return await execute(self, raise_on_error)
        block, pieces = Once(StockPipeline._execute_transaction), Once(StockPipeline._execute_pipeline)
        standin = Standin(self, _execute_transaction=block.bound(self), _execute_pipeline=pieces.bound(self))
        result: list[Any] = await Once.run(execute(standin, raise_on_error))
        return result

    async def _clear(self) -> None:
        stock: Any = super()
        await stock.reset()

    def _may_share(self, mux: Mux, run: list[tuple[Any, ...]]) -> bool:
        if len(run) > MAX_COMMANDS or any(kind_of(args) is not Kind.SHARED for args in run):
            return False
        names = mux.bulk.names
        if names and mux.goes_apart((RUN, _signature(run))):
            return False
        return not any(canonical(args[0]) in names and mux.goes_apart(args) for args in run)

    async def _send(
        self,
        mux: Mux,
        run: list[tuple[Any, ...]],
        raw: frozenset[int],
        parse: Callable[[Answer], Awaitable[list[Any]]],
    ) -> Answer:
        again = repeatable(self._sharing, run[1:-1] if run[0] == ("MULTI",) else run)
        limit = _limit(mux)

        def packed(link: Link) -> list[bytes]:
            pieces = [link.pack(args) for args in run]
            if sum(map(len, pieces)) > limit:
                raise TooLong
            return pieces

        async def send() -> Answer | Failure:
            return await attempt(mux, run, packed, raw, repeatable=again, parse=parse)

        return await persist(mux, await send(), send)


def _limit(mux: Mux) -> int:
    return max(RUN_BYTES, mux.sharing.bulk_bytes)


def _signature(run: list[tuple[Any, ...]]) -> bytes:
    return canonical(run[0][0]).encode() + b" " + key_of(run[0])
