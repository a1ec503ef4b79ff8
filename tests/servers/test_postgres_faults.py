"""Bad input, and servers that refuse, fall silent or are asked for too much."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from asyncpg import PostgresError
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine
from sqlalchemy.pool import NullPool

from app.core.adaptive_buffers import POLICY, DataFlowType
from app.db.dynamic_session import DynamicPostgreSQLSession
from fluido.errors import Closed
from fluido.sqlalchemy import AdaptivePool, Limits, close_engine, create_async_engine
from tests.servers.sentinel import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


def pool_of(engine: AsyncEngine) -> AdaptivePool:
    assert isinstance(engine.pool, AdaptivePool)
    return engine.pool


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("postgresql+psycopg2://host/db", {}, "is not async: use|No module named"),
        ("sqlite://", {}, "is not async: use"),
        ("postgresql+asyncpg://host/db", {"limit": Limits(), "pool_size": 5}, "already says what pool_size"),
        (
            "postgresql+asyncpg://host/db",
            {"poolclass": NullPool, "limit": Limits()},
            "NullPool was asked for",
        ),
    ],
)
def test_contradictions_are_refused_in_words(url: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises((ValueError, InvalidRequestError, ModuleNotFoundError), match=sentence):
        create_async_engine(url, **options)  # type: ignore[arg-type]  # the point


async def test_a_closed_engine_says_so(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=2))
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await close_engine(engine)
    for _ in range(2):
        with pytest.raises(Closed):
            await engine.connect().start()
    await close_engine(engine)


async def test_too_many_connections_brake_and_leave_nothing_behind(postgres_url: str) -> None:
    """The server grants three connections, the pool believes in twenty."""
    admin = create_async_engine(postgres_url, limit=Limits(min=1, max=1), isolation_level="AUTOCOMMIT")
    async with admin.connect() as connection:
        await connection.execute(text("DROP ROLE IF EXISTS crowded"))
        await connection.execute(text("CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 3"))
    url = make_url(postgres_url).set(username="crowded", password="crowded")
    engine = create_async_engine(url, limit=Limits(min=1, max=20, start=20.0, open_every_s=0.0))

    async def ask() -> str:
        try:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(0.02)"))
        except DBAPIError as error:
            return str(getattr(error.orig, "sqlstate", ""))
        except PostgresError as error:  # SQLAlchemy 2.0 lets what connect() raises through as it is
            return str(error.sqlstate)
        return "served"

    outcomes: list[str] = []
    rounds = 0
    async with asyncio.timeout(20):
        # three of a round get a connection; the brake makes others wait for those instead of failing
        while outcomes.count("served") <= 3 * rounds or rounds < 8:
            outcomes += await asyncio.gather(*(ask() for _ in range(20)))
            rounds += 1
    pool = pool_of(engine)
    assert set(outcomes) == {"served", "53300"}
    assert outcomes.count("served") > 24
    assert pool.stats().overloads == outcomes.count("53300")
    assert any(reason.startswith("brake") for reason in pool.stats().reasons)
    assert (pool.gate.inflight, pool.gate.waiting, pool.checkedout()) == (0, 0, 0)
    assert await ask() == "served"
    await close_engine(engine)
    async with admin.connect() as connection:
        await connection.execute(text("DROP ROLE crowded"))
    await close_engine(admin)


class Line:
    """A proxy on loopback that can fall silent: it goes on accepting and passes nothing on.

    Who connects during the silence is dropped after 2 s, as PostgreSQL itself does after its
    authentication_timeout (60 s): asyncpg 0.29 waits that long to cancel a statement.
    """

    def __init__(self, target: str) -> None:
        self.target = make_url(target)
        self.silent = False
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if not self.silent:
                writer.write(data)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, back = await asyncio.open_connection(self.target.host, self.target.port)
        for pair in ((reader, back), (upstream, writer)):
            task = asyncio.create_task(self._forward(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.silent:
            await asyncio.sleep(2.0)
            writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Line"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        where = self.target.set(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        self.url = where.render_as_string(hide_password=False)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def answered(check: Callable[[], Awaitable[object]]) -> bool:
    """Whether it was, in time: 0.3 s to connect may be too short on a crowded machine."""
    try:
        await check()
    except (TimeoutError, OSError, SQLAlchemyError):
        return False
    return True


async def test_a_server_that_falls_silent_costs_the_timeout_and_no_connection(postgres_url: str) -> None:
    """Beside stock: in versions where the driver waits longer than it was told, both wait for it."""
    async with Line(postgres_url).listening() as line:
        policy = replace(
            POLICY[DataFlowType.DATABASE_QUERY],
            pool_min_size=1,
            pool_max_size=2,
            connect_timeout_s=0.3,
            read_timeout_s=0.3,
        )
        db = DynamicPostgreSQLSession(line.url, policy=policy)
        stock = create_stock_engine(
            line.url,
            pool_size=1,
            max_overflow=1,
            pool_timeout=0.3,
            connect_args={"timeout": 0.3, "command_timeout": 0.3},
        )

        async def ask_stock() -> None:
            async with stock.connect() as connection:
                await connection.execute(text("SELECT 1"))

        async def silence(check: Callable[[], Awaitable[object]]) -> float:
            """How long six callers at once take to hear that nobody answers."""
            started_s = time.perf_counter()
            results = await asyncio.gather(*(check() for _ in range(6)), return_exceptions=True)
            assert all(isinstance(result, TimeoutError | OSError | SQLAlchemyError) for result in results)
            return time.perf_counter() - started_s

        for check in (ask_stock, db.check):
            await eventually(lambda check=check: answered(check), 20.0)
        line.silent = True
        stock_s, ours_s = await asyncio.gather(silence(ask_stock), silence(db.check))
        assert ours_s < stock_s + 5.0
        assert (db.pool.gate.inflight, db.pool.gate.waiting, db.pool.checkedout()) == (0, 0, 0)
        line.silent = False
        await eventually(lambda: answered(db.check), 20.0)
        await db.close()
        await stock.dispose()


async def test_a_session_that_is_forgotten_is_found_named_and_its_place_freed(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=1))
    pool = pool_of(engine)
    session = AsyncSession(engine)

    async def a_route_that_never_closes_its_session() -> None:
        await session.execute(text("SELECT 1"))
        await asyncio.Event().wait()

    task = asyncio.create_task(a_route_that_never_closes_its_session())
    while not pool.holds or next(iter(pool.holds.values())).database_s == 0.0:
        await asyncio.wait((task,), timeout=0.01)
    (hold,) = pool.holds.values()
    hold.taken_s -= 60.0
    with caplog.at_level(logging.WARNING, "fluido.sqlalchemy"):
        pool.keeper.sweep()
        pool.keeper.sweep()
    assert "a_route_that_never_closes_its_session" in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await session.close()
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await close_engine(engine)
