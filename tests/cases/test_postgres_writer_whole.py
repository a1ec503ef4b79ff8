"""A batch of plain rows is one statement and a transaction by itself: as single INSERTs would store it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.sqlalchemy import GroupWriter, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

ROWS = 9


@pytest.fixture(params=["asyncpg", "psycopg"])
def url(request: pytest.FixtureRequest, postgres_url: str) -> str:
    return postgres_url.replace("+asyncpg", f"+{request.param}")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url)
    yield engine
    await close_engine(engine)


def table() -> sa.Table:
    return sa.Table(
        "t",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("v", sa.Integer),
    )


async def create(engine: AsyncEngine, made: sa.Table, *sql: str) -> None:
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE IF EXISTS t, elsewhere CASCADE")
        await connection.run_sync(made.metadata.create_all)
        for statement in sql:
            await connection.exec_driver_sql(statement)


async def values(engine: AsyncEngine, query: str) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.exec_driver_sql(query)).scalars())


async def twice(writer: GroupWriter) -> list[Any]:
    """Two batches, since the first tells a writer what it needs to know."""
    return [
        await asyncio.gather(*(writer.add({"v": v}) for v in range(ROWS)), return_exceptions=True)
        for _ in range(2)
    ]


def function(body: str) -> tuple[str, str]:
    return (
        f"CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
        "CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
    )


async def test_a_batch_is_one_statement_that_leaves_no_bound_behind(engine: AsyncEngine) -> None:
    made = table()
    await create(engine, made, *function("NEW.v := mod(txid_current(), 1000000); RETURN NEW;"))
    writer = GroupWriter(engine, made, returning=["v"])
    for results in await twice(writer):
        assert len({row["v"] for row in results}) == 1, "one transaction"
    assert set(await values(engine, "SELECT current_setting('lock_timeout') FROM t")) == {"0"}
    await writer.close()


@pytest.mark.parametrize("returning", [(), ("v",)])
@pytest.mark.parametrize("which", ["true", "mod(NEW.v, 3) = 0"])
async def test_rows_that_a_trigger_takes_elsewhere_are_there_once(
    engine: AsyncEngine, which: str, returning: tuple[str, ...]
) -> None:
    """Partitions by hand. What was stored and not answered must not be stored again."""
    made = table()
    move = f"IF {which} THEN INSERT INTO elsewhere VALUES (NEW.v); RETURN NULL; END IF; RETURN NEW;"
    await create(engine, made, "CREATE TABLE elsewhere (v int)", *function(move))
    writer = GroupWriter(engine, made, returning=returning)
    for results in await twice(writer):
        answered = [v for v, row in enumerate(results) if row is not None]
        assert answered == ([] if which == "true" or not returning else [v for v in range(ROWS) if v % 3])
    both = await values(engine, "SELECT v FROM t UNION ALL SELECT v FROM elsewhere ORDER BY 1")
    assert both == sorted([*range(ROWS), *range(ROWS)])
    await writer.close()


@pytest.mark.parametrize("returning", [(), ("v",)])
async def test_a_table_with_rules(engine: AsyncEngine, returning: tuple[str, ...]) -> None:
    """Rules do not go with WITH: the writer notices, and goes another way."""
    made = table()
    await create(
        engine,
        made,
        "CREATE TABLE elsewhere (v int)",
        "CREATE RULE also AS ON INSERT TO t DO ALSO INSERT INTO elsewhere VALUES (1)",
    )
    writer = GroupWriter(engine, made, returning=returning)
    for results in await twice(writer):
        assert results == [{"v": v} if returning else None for v in range(ROWS)]
    assert await values(engine, "SELECT v FROM t ORDER BY v") == sorted([*range(ROWS), *range(ROWS)])
    await writer.close()


async def test_what_is_not_supported_is_not_a_plan_that_is_stale(engine: AsyncEngine) -> None:
    """The same code, 0A000. psycopg was made to forget its statements for it, and missed one then."""
    made = table()
    await create(engine, made, "CREATE RULE r AS ON INSERT TO t WHERE NEW.v = -1 DO INSTEAD NOTHING")
    writer = GroupWriter(engine, made, returning=["id"])
    for _ in range(8):  # psycopg prepares after five
        with pytest.raises(DBAPIError, match="cannot perform INSERT RETURNING"):
            await writer.add({"v": 1})
    for results in await twice(writer):
        assert all("cannot perform INSERT RETURNING" in str(error) for error in results)
    await writer.close()


@pytest.mark.parametrize("option", ["postgresql_readonly", "isolation_level"])
async def test_what_an_engine_says_of_its_transactions_holds_for_every_row(url: str, option: str) -> None:
    """A transaction by itself would be none of the engine's own kind."""
    value = True if option == "postgresql_readonly" else "REPEATABLE READ"
    plain, kind = create_async_engine(url), create_async_engine(url, execution_options={option: value})
    made = table()
    await create(
        plain, made, *function("RAISE EXCEPTION USING MESSAGE = current_setting('transaction_isolation');")
    )
    writer = GroupWriter(kind, made)
    results = [await asyncio.gather(writer.add({"v": 1}), return_exceptions=True), *await twice(writer)]
    said = "read-only transaction" if option == "postgresql_readonly" else "repeatable read"
    for error in (error for batch in results for error in batch):
        assert isinstance(error, DBAPIError)
        assert said in str(error)
    await writer.close()
    await close_engine(kind)
    await close_engine(plain)
