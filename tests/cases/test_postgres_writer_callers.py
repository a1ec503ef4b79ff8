"""One caller's trouble is his own: locks, hooks that read context variables, and the way to the server."""

import asyncio
import contextvars
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.sqlalchemy import GroupWriter, Limits, close_engine, create_async_engine, write_behind

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

METADATA = sa.MetaData()
PARENTS = sa.Table("parents", METADATA, sa.Column("id", sa.Integer, primary_key=True))
CHILDREN = sa.Table(
    "children",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("parent_id", sa.ForeignKey("parents.id")),
    sa.Column("token", sa.Uuid, unique=True),
)
NOTES = sa.Table(
    "notes",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("tenant", sa.Text, server_default=sa.text("current_setting('app.tenant', true)")),
    sa.Column("body", sa.Text),
)
tenant = contextvars.ContextVar("tenant", default="nobody")
request_id = contextvars.ContextVar("request_id", default="")


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=4, max=20))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(sa.insert(PARENTS), [{"id": n} for n in range(30)])
    yield engine
    await close_engine(engine)


@asynccontextmanager
async def locked(engine: AsyncEngine, *parents: int) -> AsyncIterator[None]:
    async with engine.connect() as connection:
        held = sa.select(PARENTS).where(PARENTS.c.id.in_(parents)).with_for_update()
        await connection.execute(held)
        yield
        await connection.rollback()


async def until(done: Any) -> None:
    async with asyncio.timeout(10.0):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def counts(engine: AsyncEngine, table: sa.Table, rows: int) -> None:
    async with asyncio.timeout(10.0):
        while await count(engine, table) < rows:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def count(engine: AsyncEngine, table: sa.Table) -> int:
    async with engine.connect() as connection:
        return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


@pytest.mark.parametrize("returning", [(), ("parent_id",)])
async def test_others_are_stored_while_one_row_waits_for_a_lock(
    engine: AsyncEngine, returning: tuple[str, ...]
) -> None:
    writer = GroupWriter(engine, CHILDREN, returning=returning)
    async with locked(engine, 0):
        adds = [asyncio.create_task(writer.add({"parent_id": n})) for n in range(30)]
        await until(lambda: sum(add.done() for add in adds) == 29)
        assert not adds[0].done()
        more = [asyncio.create_task(writer.add({"parent_id": n})) for n in range(1, 30)]
        await asyncio.wait_for(asyncio.gather(*more), 10.0)
    await asyncio.wait_for(asyncio.gather(*adds), 10.0)
    assert await count(engine, CHILDREN) == 59
    await writer.close()


async def test_who_comes_after_one_that_waits_does_not_wait(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, CHILDREN)
    async with locked(engine, 0):
        first = asyncio.create_task(writer.add({"parent_id": 0}))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(writer.add({"parent_id": n})) for n in range(1, 30)]
        await asyncio.wait_for(asyncio.gather(*others), 10.0)
        assert not first.done()
    await first
    await writer.close()


async def test_many_locked_rows_and_their_cancelled_callers(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, CHILDREN)
    async with locked(engine, *range(10)):
        adds = [asyncio.create_task(writer.add({"parent_id": n})) for n in range(30)]
        await until(lambda: sum(add.done() for add in adds) == 20)
        for add in adds[8:10]:
            add.cancel()
    await until(lambda: all(add.done() for add in adds))
    await writer.close()
    assert await count(engine, CHILDREN) in {28, 29, 30}  # a row whose INSERT had begun goes on
    assert writer.stats().inflight == writer.stats().waiting == 0


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout"])
async def test_a_timeout_of_the_users_own_fails_one(postgres_url: str, setting: str) -> None:
    settings = {"server_settings": {setting: "400ms"}}
    engine = create_async_engine(postgres_url, limit=Limits(4, 20), connect_args=settings)
    other = create_async_engine(postgres_url)
    async with other.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.execute(sa.insert(PARENTS), [{"id": n} for n in range(30)])
    writer = GroupWriter(engine, CHILDREN)
    async with locked(other, 0):
        results = await asyncio.gather(
            *(writer.add({"parent_id": n}) for n in range(30)), return_exceptions=True
        )
    assert [n for n, result in enumerate(results) if result is not None] == [0]
    assert isinstance(results[0], DBAPIError)
    await writer.close()
    await close_engine(engine)
    await close_engine(other)


async def test_a_buffer_goes_on_while_one_row_waits_for_a_lock(engine: AsyncEngine) -> None:
    refused: list[Any] = []
    behind = write_behind(engine, CHILDREN, rejected=lambda *what: refused.append(what))
    async with locked(engine, 0):
        for n in range(30):
            behind.offer({"parent_id": n})
        await counts(engine, CHILDREN, 29)
        behind.offer({"parent_id": 7})
        await counts(engine, CHILDREN, 30)
    await behind.close()
    assert await count(engine, CHILDREN) == 31
    assert refused == []


# -- context variables that hooks read --


def set_tenant(engine: AsyncEngine, event: str) -> None:
    if event == "checkout":

        @sa.event.listens_for(engine.sync_engine, "checkout")
        def checkout(dbapi: Any, _record: Any, _proxy: Any) -> None:
            cursor = dbapi.cursor()
            cursor.execute(f"SELECT set_config('app.tenant', '{tenant.get()}', false)")
            cursor.close()
            dbapi.commit()

    else:

        @sa.event.listens_for(engine.sync_engine, "begin")
        def begin(connection: sa.Connection) -> None:
            # Local to the transaction: an INSERT in autocommit would not see it.
            connection.exec_driver_sql(f"SELECT set_config('app.tenant', '{tenant.get()}', true)")


async def tenants(engine: AsyncEngine) -> list[tuple[str, str]]:
    async with engine.connect() as connection:
        found = await connection.execute(sa.select(NOTES.c.tenant, NOTES.c.body).order_by(NOTES.c.id))
        return [(row.tenant, row.body) for row in found]


@pytest.mark.parametrize("event", ["checkout", "begin"])
@pytest.mark.parametrize("partitioned", [False, True])
async def test_rows_land_under_their_own_callers_tenant(
    engine: AsyncEngine, event: str, partitioned: bool
) -> None:
    set_tenant(engine, event)
    partition = (lambda _row: tenant.get()) if partitioned else None
    writer = GroupWriter(engine, NOTES, partition=partition)
    behind = write_behind(engine, NOTES, partition=partition)

    async def request(number: int) -> None:
        who = ("alice", "bob", "carol")[number % 3]
        tenant.set(who)
        if partitioned:
            request_id.set(str(number))
        await asyncio.gather(*(writer.add({"body": f"{who}"}) for _ in range(4)))
        behind.offer({"body": f"{who}"})

    await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(30)))
    await behind.close()
    found = await tenants(engine)
    assert len(found) == 150
    assert all(owner == body for owner, body in found)
    assert writer.batches < 60, "rows of one tenant go together"
    await writer.close()


async def test_a_writer_made_elsewhere_and_values_that_are_only_equal(engine: AsyncEngine) -> None:
    set_tenant(engine, "checkout")
    tenant.set("maker")
    writer = GroupWriter(engine, NOTES)

    async def request(who: str) -> None:
        tenant.set(who + str(1))  # another object each time
        await writer.add({"body": who + "1"})

    await asyncio.gather(*(asyncio.create_task(request("alice")) for _ in range(40)))
    await asyncio.create_task(writer.add({"body": "maker"}))
    assert all(owner == body for owner, body in await tenants(engine))
    assert writer.batches <= 4
    await writer.close()


async def test_without_hooks_context_variables_keep_nothing_apart(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, NOTES)

    async def request(number: int) -> None:
        request_id.set(str(number))
        await writer.add({"body": "x"})

    await asyncio.gather(*(asyncio.create_task(request(number)) for number in range(100)))
    assert writer.batches < 10
    await writer.close()


async def test_a_type_that_reads_a_context_variable_reads_its_callers(engine: AsyncEngine) -> None:
    class Sealed(sa.types.TypeDecorator[str]):
        impl = sa.Text
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> str:
            return f"{tenant.get()}:{value}"

    made = sa.Table("sealed", sa.MetaData(), sa.Column("v", Sealed), sa.Column("who", sa.Text))
    async with engine.begin() as connection:
        await connection.run_sync(made.metadata.create_all)
    writer = GroupWriter(engine, made)

    async def request(who: str) -> None:
        tenant.set(who)
        await writer.add({"v": "x", "who": who})

    await asyncio.gather(*(asyncio.create_task(request(who)) for who in ("a", "b", "c", "a", "b")))
    async with engine.connect() as connection:
        found = (await connection.execute(sa.text("SELECT v, who FROM sealed"))).all()
    assert Counter(v for v, _ in found) == {"a:x": 2, "b:x": 2, "c:x": 1}
    assert all(v == f"{who}:x" for v, who in found)
    await writer.close()


async def test_a_hook_that_refuses_one_tenant_refuses_only_him(engine: AsyncEngine) -> None:
    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if tenant.get() == "bob":
            raise PermissionError("not you")

    writer = GroupWriter(engine, NOTES)

    async def request(who: str) -> None:
        tenant.set(who)
        await writer.add({"body": who})

    results = await asyncio.gather(
        *(asyncio.create_task(request(who)) for who in ("alice", "bob", "carol")), return_exceptions=True
    )
    assert [result is None for result in results] == [True, False, True]
    await writer.close()


# -- the way to the server --


async def test_rows_with_a_key_are_told_from_those_without(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, CHILDREN, returning=["id"], key="token")
    token = uuid.uuid4()
    rows: list[dict[str, Any]] = [
        {"token": token},
        {"token": None},
        {"token": token},
        {"token": uuid.uuid4()},
    ]
    answers = await asyncio.gather(*(writer.add(row) for row in rows))
    assert answers[0] == answers[2]
    assert len({answer["id"] for answer in answers if answer}) == 3
    await writer.close()


async def test_an_engine_that_was_closed_first_loses_no_row_in_silence(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[Any] = []
    behind = write_behind(engine, NOTES, rejected=lambda rows, error: refused.append((len(rows), error)))
    behind.offer({"body": "late"})
    await close_engine(engine)
    await asyncio.wait_for(behind.close(), 30.0)
    assert [(number, type(error).__name__) for number, error in refused] == [(1, "Closed")]
    assert "1 row(s) were not stored: Closed" in caplog.text


async def test_a_row_that_is_refused_does_not_stop_a_buffer(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[Any] = []
    behind = write_behind(engine, CHILDREN, rejected=lambda rows, error: refused.append((rows[0], error)))
    with pytest.raises(ValueError, match="children has no column nothing"):
        behind.offer({"nothing": 1})
    for row in ({"parent_id": 99}, {}, {"parent_id": 1}, {"parent_id": "x"}, {"parent_id": 2}):
        behind.offer(row)
    await behind.flush()
    assert await count(engine, CHILDREN) == 3
    assert sorted(str(row["parent_id"]) for row, _ in refused) == ["99", "x"]
    assert {type(error) for row, error in refused if row["parent_id"] == 99} == {IntegrityError}
    assert "1 row(s) were not stored: ForeignKeyViolation" in caplog.text
    assert (behind.failures, behind.stats().waiting) == (0, 0)
    await behind.close()


async def test_a_row_whose_trigger_speaks_for_the_server_does_not_stop_a_buffer(engine: AsyncEngine) -> None:
    """The connection is gone, says a function of one row. It is not, and nothing may be repeated for ever."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.parent_id = 2 THEN RAISE EXCEPTION 'gone' USING ERRCODE = '08006'; END IF;"
            " RETURN NEW; END $$"
        )
        await connection.exec_driver_sql(
            "CREATE TRIGGER gone BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION gone()"
        )
    refused: list[Any] = []
    behind = write_behind(engine, CHILDREN, rejected=lambda rows, _: refused.append(rows[0]["parent_id"]))
    for parent in (1, 2, 1, 2):
        behind.offer({"parent_id": parent})
    await asyncio.wait_for(behind.flush(), 30.0)
    assert (await count(engine, CHILDREN), refused) == (2, [2, 2])
    assert behind.failures == 0
    await behind.close()


async def test_a_buffer_says_that_it_repeats_and_loses_nothing(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = create_async_engine(postgres_url, limit=Limits(1, 4))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    behind = write_behind(engine, NOTES, staleness_s=0.01)
    away = True

    @sa.event.listens_for(engine.sync_engine, "checkout")
    def fail(_dbapi: Any, _record: Any, _proxy: Any) -> None:
        if away:
            raise ConnectionResetError("no route")

    for number in range(5):
        behind.offer({"body": str(number)})
    await until(lambda: behind.failures >= 3)
    away = False
    await behind.flush()
    assert [body for _, body in await tenants(engine)] == [str(number) for number in range(5)]
    warned = [record for record in caplog.records if "cannot write" in record.message]
    assert len(warned) == 1
    assert "5 items wait" in warned[0].message
    assert "ConnectionResetError: no route" in warned[0].message
    assert any("writes again" in record.message for record in caplog.records)
    await behind.close()
    await close_engine(engine)
