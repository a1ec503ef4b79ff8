"""A server that answers and became read-only: gpustack/gpustack#6105, MagicStack/asyncpg#253.

The old primary of a failover lives on, or a provider turned writes off: every write fails with 25006, for
good with stock. An engine that asks for a writable server leaves it.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.sqlalchemy import Limits, close_engine, create_async_engine, pool_of
from fluido.sqlalchemy._readonly import asks_for_writable

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

WRITE = sa.text("INSERT INTO notes VALUES (1)")
PID = sa.text("SELECT pg_backend_pid()")


@pytest.fixture(params=["asyncpg", "psycopg"])
def url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    with admin_of(postgres_url) as admin:
        admin.execute("CREATE TABLE notes (n int)")
    return postgres_url.replace("+asyncpg", f"+{request.param}")


def admin_of(url: str) -> "psycopg.Connection[Any]":
    plain = url.replace("+asyncpg", "").replace("+psycopg", "")
    return psycopg.connect(plain, autocommit=True, options="-c default_transaction_read_only=off")


def turn_writes(url: str, on: bool) -> None:
    """As a provider does with a full disk; sessions that are open keep what they began with."""
    with admin_of(url) as admin:
        name = sa.make_url(url).database
        admin.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only = {'off' if on else 'on'}"  # type: ignore[arg-type]
        )


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, limit=Limits(1, 3), writable=True)
    yield engine
    assert await close_engine(engine)


async def write(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(WRITE)


async def pids(engine: AsyncEngine) -> set[int]:
    """The backends behind three connections that are used together."""
    async with engine.connect() as a, engine.connect() as b, engine.connect() as c:
        return {(await one.execute(PID)).scalar_one() for one in (a, b, c)}


async def test_a_read_only_server_is_left_once(engine: AsyncEngine, url: str) -> None:
    turn_writes(url, on=False)
    before = await pids(engine)
    turn_writes(url, on=True)  # the name of the server now leads to one that takes writes
    with pytest.raises(DBAPIError) as caught:
        await write(engine)
    assert caught.value.connection_invalidated
    await write(engine)  # by what is opened anew
    assert not before & await pids(engine), "the whole generation is replaced"
    after = await pids(engine)
    await asyncio.gather(*(write(engine) for _ in range(8)))
    assert await pids(engine) == after, "once"
    assert pool_of(engine).gate.held == 0


async def test_without_the_wish_it_is_as_with_stock(url: str) -> None:
    engine = create_async_engine(url, limit=Limits(1, 3))
    turn_writes(url, on=False)
    before = await pids(engine)
    turn_writes(url, on=True)
    for _ in range(3):
        with pytest.raises(DBAPIError) as caught:
            await write(engine)
        assert not caught.value.connection_invalidated
    assert await pids(engine) == before
    await close_engine(engine)


async def test_a_transaction_that_its_caller_made_read_only_costs_no_connection(engine: AsyncEngine) -> None:
    before = await pids(engine)
    for way in ("option", "statement"):
        async with engine.connect() as connection:
            if way == "option":
                await connection.execution_options(postgresql_readonly=True)
            else:
                await connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            with pytest.raises(DBAPIError, match="read-only transaction") as caught:
                await connection.execute(WRITE)
        assert not caught.value.connection_invalidated
    assert await pids(engine) == before


@pytest.mark.parametrize(
    ("query", "connect_args", "wanted"),
    [
        ("?target_session_attrs=read-write", {}, True),
        ("?target_session_attrs=primary", {}, True),
        ("?host=a:1&host=b:2&target_session_attrs=read-write", {}, True),
        ("", {"target_session_attrs": "read-write"}, True),
        ("?target_session_attrs=any", {}, False),
        ("?target_session_attrs=prefer-standby", {}, False),
        ("?target_session_attrs=read-write", {"target_session_attrs": "any"}, False),
        ("", {}, False),
    ],
)
def test_the_url_or_the_drivers_arguments_say_it(
    query: str, connect_args: dict[str, Any], wanted: bool
) -> None:
    url = sa.make_url(f"postgresql+asyncpg://u:p@127.0.0.1:1/db{query}")
    assert asks_for_writable(url, connect_args) is wanted
    engine = create_async_engine(url, connect_args=connect_args)
    assert ("is_disconnect" in vars(engine.dialect)) is wanted
    assert "is_disconnect" in vars(create_async_engine(url, connect_args=connect_args, writable=True).dialect)
    off = create_async_engine(url, connect_args=connect_args, writable=False)
    assert "is_disconnect" not in vars(off.dialect)


def test_asyncpgs_own_word_for_it() -> None:
    from asyncpg.connect_utils import SessionAttribute  # noqa: PLC0415  (only this test needs the driver)

    url = sa.make_url("postgresql+asyncpg://host/db")
    assert asks_for_writable(url, {"target_session_attrs": SessionAttribute.read_write})
    assert not asks_for_writable(url, {"target_session_attrs": SessionAttribute.standby})
