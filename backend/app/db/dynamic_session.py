"""The customer's door to PostgreSQL: sessions that commit, roll back and give their connection back."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.adaptive_buffers import POLICY, DataFlowType, DynamicBufferConfig
from app.core.failures import StorageUnavailable
from fluido import FlowStats
from fluido.errors import Closed
from fluido.sqlalchemy import AdaptivePool, Limits, ReadReplicas, close_engine, create_async_engine


class SessionScope:
    """One session: for `async with`, and as an asynchronous generator for FastAPI's Depends."""

    def __init__(self, sessions: AsyncGenerator[AsyncSession, None]) -> None:
        self._sessions = sessions
        self._manager = asynccontextmanager(lambda: sessions)()

    async def __aenter__(self) -> AsyncSession:
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AsyncSession:
        return await self._sessions.__anext__()

    async def athrow(self, *error: Any) -> AsyncSession:
        """Tell the session that its user failed; Python 3.11 passes the error in three parts."""
        return await self._sessions.athrow(*error)

    async def aclose(self) -> None:
        """Give the session up; what was not committed is rolled back."""
        await self._sessions.aclose()


class DynamicPostgreSQLSession:
    """Sessions from a fair pool that moves between `pool_min_size` and `pool_max_size` connections.

    The numbers are those of `policy`. Nothing is opened before the first session. A caller waits at most
    `read_timeout_s` for a connection (behind at most `max_waiting` others) and at most as long for a
    statement. Raises ValueError for a URL that is not async, or a policy that lacks one of them. Of the
    connections that the server grants this process takes at most its part, as one of `sharers`.

    With `replica_urls` (standbys of the same database) `get_read_session` reads from one that is at most
    `max_replica_lag_s` behind, where there is one. `memory` is a file in which what the limit learned
    outlives a restart.
    """

    def __init__(
        self,
        url: str,
        *,
        policy: DynamicBufferConfig = POLICY[DataFlowType.DATABASE_QUERY],
        sharers: int = 1,
        name: str = "postgresql",
        replica_urls: Sequence[str] = (),
        max_replica_lag_s: float = 1.0,
        memory: Path | None = None,
    ) -> None:
        self._connect_timeout_s = policy.need("connect_timeout_s")
        self._read_timeout_s = policy.need("read_timeout_s")
        limits = Limits(
            min=int(policy.need("pool_min_size")),
            max=int(policy.need("pool_max_size")),
            max_waiting=int(policy.need("max_waiting")),
            replicas=sharers,
            memory=memory,
        )

        def engine_for(where: str, logging_name: str) -> AsyncEngine:
            return create_async_engine(
                where,
                limit=limits,
                pool_timeout=self._read_timeout_s,
                pool_logging_name=logging_name,
                hide_parameters=True,  # they are what people wrote: not for a log
                connect_args=_timeouts(where, self._connect_timeout_s, self._read_timeout_s),
            )

        self.engine: AsyncEngine = engine_for(url, name)
        self._standbys = [engine_for(it, f"{name}-replica-{n}") for n, it in enumerate(replica_urls, 1)]
        self.replicas = ReadReplicas(self.engine, self._standbys, max_lag_s=max_replica_lag_s)
        self._closed = False

    async def _sessions(self) -> AsyncGenerator[AsyncSession, None]:
        # Leaving the session closes it, shielded from cancellation: what was not committed is rolled back.
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session
            await session.commit()

    @wraps(_sessions)
    def get_session(self) -> SessionScope:
        """One session: commits at the end, rolls back on an error or cancellation, always gives back.

        `async with db.get_session() as session:` or `session: Annotated[AsyncSession,
        Depends(db.get_session)]`. Takes a connection with its first statement, not before. Raises Closed
        after `close()`.
        """
        if self._closed:
            raise Closed("the database was closed")
        return SessionScope(self._sessions())

    async def _read_sessions(self) -> AsyncGenerator[AsyncSession, None]:
        await self.replicas.open()
        async with (
            self.replicas.connect() as connection,
            AsyncSession(connection, expire_on_commit=False) as session,
        ):
            yield session

    @wraps(_read_sessions)
    def get_read_session(self) -> SessionScope:
        """One session that only reads, on a standby that is recent enough, else on the primary.

        Used as `get_session`; takes a connection at once. What was written a moment ago may be missing.
        """
        if self._closed:
            raise Closed("the database was closed")
        return SessionScope(self._read_sessions())

    @property
    def pool(self) -> AdaptivePool:
        """The pool behind the engine."""
        pool = self.engine.pool
        if not isinstance(pool, AdaptivePool):
            raise TypeError(f"the engine's pool is a {type(pool).__name__}")
        return pool

    def stats(self) -> FlowStats:
        """Everything one may want to know about the pool, at this moment."""
        return self.pool.stats()

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        pool = self.pool
        limit = round(pool.limiter.stats().value)
        return {
            "connect_timeout_s": self._connect_timeout_s,
            "read_timeout_s": pool.timeout(),
            "pool_min_size": min(pool.limits.min, limit),  # a brake goes below what is kept open
            "pool_max_size": limit,
            "max_waiting": pool.gate.max_waiting,
        }

    async def check(self) -> None:
        """Return when PostgreSQL answers and takes writes; raises what a session would when it does not."""
        async with self.engine.connect() as connection:
            is_read_only = await connection.scalar(text("SELECT current_setting('transaction_read_only')"))
        if is_read_only == "on":
            raise StorageUnavailable("PostgreSQL takes no writes here: it is a standby, or read-only.")

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Refuse new sessions, wait up to `drain_s` for those at work, close the connections. Idempotent."""
        self._closed = True
        await self.replicas.close()
        for engine in (self.engine, *self._standbys):
            await close_engine(engine, drain_s=drain_s)


def _timeouts(url: str, connect_timeout_s: float, read_timeout_s: float) -> dict[str, Any]:
    if make_url(url).get_driver_name() == "asyncpg":
        return {"timeout": connect_timeout_s, "command_timeout": read_timeout_s}
    return {
        "connect_timeout": max(2, round(connect_timeout_s)),
        "options": f"-c statement_timeout={round(read_timeout_s * 1e3)}",
    }
