"""A row of a group is what one INSERT by the stock library stores: beside it, on both drivers."""

import asyncio
import contextvars
import uuid
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fluido import Fixed
from fluido.sqlalchemy import GroupWriter, Limits, close_engine, create_async_engine, write_behind

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=6))
    yield engine
    await close_engine(engine)


def table(*columns: Any, name: str = "t") -> sa.Table:
    return sa.Table(
        name, sa.MetaData(), sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), *columns
    )


async def create(engine: AsyncEngine, made: sa.Table, *sql: str) -> None:
    async with engine.begin() as connection:
        await connection.run_sync(made.metadata.drop_all)
        await connection.run_sync(made.metadata.create_all)
        for statement in sql:
            await connection.exec_driver_sql(statement)


async def stored(engine: AsyncEngine, made: sa.Table, *names: str) -> list[Any]:
    async with engine.connect() as connection:
        columns = [made.c[name] for name in names]
        found = (await connection.execute(sa.select(*columns).order_by(made.c.id))).all()
    return [row[0] if len(names) == 1 else tuple(row) for row in found]


async def together(writer: GroupWriter, rows: list[Any]) -> list[Any]:
    return await asyncio.gather(*(writer.add(row) for row in rows), return_exceptions=True)


async def one_by_one(engine: AsyncEngine, made: sa.Table, rows: list[Any]) -> list[Any]:
    """What a plain INSERT makes of each row: None, or the class of its error."""
    results: list[Any] = []
    stock = create_stock_engine(engine.url)
    for row in rows:
        try:
            async with stock.begin() as connection:
                await connection.execute(sa.insert(made), row or None)
            results.append(None)
        except Exception as error:  # noqa: BLE001
            results.append(type(error))
    await stock.dispose()
    return results


def kinds(results: list[Any]) -> list[Any]:
    return [type(result) if isinstance(result, BaseException) else None for result in results]


def _function(body: str, name: str = "no") -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"


class Tags(sa.types.TypeDecorator[list[int]]):
    impl = pg.ARRAY(sa.Integer)
    cache_ok = True


class Lower(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "text"

    def bind_expression(self, bindvalue: Any) -> Any:
        return sa.func.lower(bindvalue, type_=self)


VALUES: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "json lists": (lambda: pg.JSONB, [["a", "b"], ["a"], [], {"a": 1}, "text", 1, None, [[1], [2]]]),
    "json null": (lambda: sa.JSON, [None, sa.null(), sa.JSON.NULL, [None]]),
    "arrays": (lambda: pg.ARRAY(sa.Integer), [[1, 2], [], None, [None, 3]]),
    "arrays of two dimensions": (lambda: pg.ARRAY(sa.Text, dimensions=2), [[["a"], ["b"]], None]),
    "a decorated array": (lambda: Tags, [[1], [1, 2], [], None]),
    "numbers of one column": (lambda: sa.Numeric(10, 2), [1, Decimal("1.50"), 2, None]),
    "floats and ints": (lambda: sa.Float, [1, 2.5, None]),
    "ints and bools": (lambda: sa.Integer, [True, 2, False]),
    "bind expressions": (lambda: Lower, ["ABC", "abC", None]),
    "multiranges": (
        lambda: pg.INT4MULTIRANGE,
        [pg.MultiRange([pg.Range(1, 3), pg.Range(5, 8)]), pg.MultiRange([])],
    ),
    "lists with NULs inside": (lambda: pg.JSONB, [["a"], ["b\0"], ["c"]]),
    "binaries": (lambda: sa.LargeBinary, [b"\0\xff", b"", None]),
    "intervals": (lambda: sa.Interval, [None]),
    "enums": (lambda: sa.Enum("a", "b", name="ab"), ["a", "b", None, "c"]),
    "uuids as texts": (lambda: sa.Uuid(as_uuid=False), [str(uuid.uuid4()), str(uuid.uuid4()).upper(), "no"]),
    "bad texts": (lambda: sa.Text, ["x", "a\0b", "\ud800", 5, {"a": 1}, "y"]),
    "long texts": (lambda: sa.String(3), ["abc", "abc  ", "abcd", "é" * 3, None]),
    "bad numbers": (lambda: sa.Integer, [1, "x", 2**31, 2**70, 1.5, None, 3]),
}


@pytest.mark.parametrize("returning", [False, True])
@pytest.mark.parametrize("what", VALUES)
async def test_values_are_what_single_inserts_store(engine: AsyncEngine, what: str, returning: bool) -> None:
    make, values = VALUES[what]
    ours = table(sa.Column("v", make()))
    theirs = ours.to_metadata(ours.metadata, name="u")
    rows = [{"v": value} for value in values]
    await create(engine, ours)
    writer = GroupWriter(engine, ours, returning=["v", "id"] if returning else ())
    results = await together(writer, rows)
    assert kinds(results) == await one_by_one(engine, theirs, rows)
    shown = [sa.cast(made.c.v, sa.Text) for made in (ours, theirs)]
    async with engine.connect() as connection:
        mine, other = [
            sorted(map(str, (await connection.execute(sa.select(column))).scalars())) for column in shown
        ]
        by_id = {row.id: row.v for row in await connection.execute(sa.select(ours))}
    assert mine == other
    if returning:
        answers = [result for result in results if isinstance(result, dict)]
        assert {answer["id"]: answer["v"] for answer in answers} == by_id
        if len(answers) == len(rows):  # rows that look as if they will be refused are stored last
            assert [answer["id"] for answer in answers] == sorted(by_id)
    assert writer.batches == 1
    await writer.close()


async def test_the_types_of_the_server_side_and_rows_of_nothing(engine: AsyncEngine) -> None:
    made = table(
        sa.Column("v", sa.Text, server_default="by the server"),
        sa.Column("twice", sa.Integer, sa.Computed("id * 2", persisted=True)),
    )
    await create(engine, made)
    writer = GroupWriter(engine, made, returning="v")
    results = await together(writer, [{"v": "x"}, {}, {"v": sa.func.upper("y")}, {"v": None}, {}])
    assert results == [{"v": text} for text in ("x", "by the server", "Y", None, "by the server")]
    plain = GroupWriter(engine, made)
    assert await together(plain, [{}, {}, {}]) == [None, None, None]
    assert await stored(engine, made, "id", "twice") == [(number, 2 * number) for number in range(1, 9)]
    await writer.close()
    await plain.close()


async def test_defaults_run_once_a_row_in_their_callers_context(engine: AsyncEngine) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    made = table(
        sa.Column("name", sa.Text),
        sa.Column("short", sa.Text, default=lambda context: context.get_current_parameters()["name"][:2]),
        sa.Column("by", sa.Text, default=who.get),
        sa.Column("n", sa.Integer, sa.CheckConstraint("n <> 3"), default=count),
        sa.Column("fixed", sa.Integer, default=7),
    )
    await create(engine, made)
    writer = GroupWriter(engine, made)

    async def add(name: str) -> None:
        who.set(name)
        await writer.add({"name": name})

    results = await asyncio.gather(*(add(f"user {n}") for n in range(6)), return_exceptions=True)
    assert kinds(results) == [None, None, IntegrityError, None, None, None]
    rows = await stored(engine, made, "name", "short", "by", "n", "fixed")
    assert rows == [(f"user {n}", "us", f"user {n}", n + 1, 7) for n in range(6) if n != 2]
    assert len(calls) == 6
    await writer.close()


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    number: Mapped[int] = mapped_column("account_no", sa.Identity(), primary_key=True)
    mail: Mapped[str] = mapped_column("e_mail", unique=True)


async def test_mapped_classes_and_names_against_keys(engine: AsyncEngine) -> None:
    await create(engine, Account.__table__)  # type: ignore[arg-type]
    writer = GroupWriter(engine, Account, returning=["number", "mail"], key="mail")
    first, second = await together(writer, [{"mail": "a"}, {"mail": "b"}])
    assert (first["mail"], second["mail"]) == ("a", "b")
    assert await writer.add({"mail": "a"}) == first
    with pytest.raises(ValueError, match="accounts has no column e_mail"):
        await writer.add({"e_mail": "c"})
    with pytest.raises(TypeError, match="Table or a mapped class"):
        GroupWriter(engine, dict)
    keyed = sa.Table(
        "k",
        sa.MetaData(),
        sa.Column("user_id", sa.BigInteger, primary_key=True, key="id"),
        sa.Column("mail", sa.CHAR(5), unique=True),
    )
    await create(engine, keyed)
    by_key = GroupWriter(engine, keyed, returning="mail", key="id")
    assert (
        await together(by_key, [{"id": 2, "mail": "cd"}, {"id": 2, "mail": "no"}]) == [{"mail": "cd   "}] * 2
    )
    await writer.close()
    await by_key.close()


KEYS: dict[str, tuple[Callable[[], Any], Any, Any, tuple[str, ...]]] = {
    "an upper-case uuid": (
        lambda: sa.Uuid(as_uuid=False),
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        (),
    ),
    "a scale": (lambda: sa.Numeric(10, 2), Decimal("1.005"), Decimal("1.01"), ()),
    "padding": (lambda: sa.CHAR(5), "ab", "ab   ", ()),
    "a real": (lambda: pg.REAL, 0.1, pytest.approx(0.1), ()),
    "an address": (lambda: pg.INET, "10.0.0.1/32", None, ()),
    "binary": (lambda: sa.LargeBinary, bytearray(b"ab"), b"ab", ()),
    "json": (lambda: pg.JSONB, {"b": 1, "a": 2}, {"a": 2, "b": 1}, ()),
    "a trigger": (
        lambda: sa.Text,
        "MiXed",
        "mixed",
        (
            _function("NEW.k := lower(NEW.k); RETURN NEW;", name="low"),
            "CREATE TRIGGER low BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION low()",
        ),
    ),
}


@pytest.mark.parametrize("what", KEYS)
async def test_a_key_is_answered_by_the_servers_value(engine: AsyncEngine, what: str) -> None:
    make, value, as_stored, sql = KEYS[what]
    made = table(sa.Column("k", make(), unique=True), sa.Column("n", sa.Integer))
    await create(engine, made, *sql)
    writer = GroupWriter(engine, made, returning=["id", "k", "n"], key=["k"])
    first = await writer.add({"k": value, "n": 1})
    again = await together(writer, [{"k": value, "n": 2}, {"k": value, "n": 3}])
    assert first is not None
    assert first["n"] == 1
    if as_stored is not None:
        assert first["k"] == as_stored
    assert again == [first, first]
    assert len(await stored(engine, made, "n")) == 1
    await writer.close()


async def test_new_and_known_keys_in_one_batch(engine: AsyncEngine) -> None:
    made = table(sa.Column("k", sa.Text, unique=True), sa.Column("n", sa.Integer))
    await create(engine, made)
    writer = GroupWriter(engine, made, returning=["n", "k"], key=["k"])
    await together(writer, [{"k": f"{n}", "n": n} for n in range(0, 20, 3)])
    answers = await together(writer, [{"k": f"{n}", "n": n + 100} for n in range(20)])
    assert answers == [{"n": n if n % 3 == 0 else n + 100, "k": f"{n}"} for n in range(20)]
    with pytest.raises(ValueError, match="needs its key k"):
        await writer.add({"n": 1})
    assert [row["k"] for row in await together(writer, [{"k": None, "n": 1}, {"k": None, "n": 2}])] == [
        None,
        None,
    ]
    await writer.close()


async def test_ids_that_a_trigger_makes_go_to_their_own_callers(engine: AsyncEngine) -> None:
    made = table(sa.Column("v", sa.Integer))
    await create(
        engine,
        made,
        _function("NEW.id := 1000 - NEW.v; RETURN NEW;", name="turn"),
        "CREATE TRIGGER turn BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION turn()",
    )
    writer = GroupWriter(engine, made, returning=["id"])
    assert await together(writer, [{"v": n} for n in range(30)]) == [{"id": 1000 - n} for n in range(30)]
    await writer.close()


RAISES = "IF NEW.v = 'bad' THEN RAISE EXCEPTION 'not this one' USING ERRCODE = 'AB123'; END IF; RETURN NEW;"
MISSES = "IF NEW.v = 'bad' THEN INSERT INTO nowhere VALUES (1); END IF; RETURN NEW;"
BEFORE = "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"
DEFERRED = (
    "CREATE CONSTRAINT TRIGGER no AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION no()"
)
# What a server says of itself; here a function says it, of one row.
SERVERS = ("08006", "25006", "40001", "53300", "57P01")
REFUSALS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "a trigger's own state": ([_function(RAISES), BEFORE], {"v": "bad"}),
    **{
        f"a trigger that raises {state}": ([_function(RAISES.replace("AB123", state)), BEFORE], {"v": "bad"})
        for state in SERVERS
    },
    "a table that only one row's trigger misses": ([_function(MISSES), BEFORE], {"v": "bad"}),
    "a deferred constraint": ([_function(RAISES), DEFERRED], {"v": "bad"}),
    "a check": (["ALTER TABLE t ADD CHECK (v <> 'bad')"], {"v": "bad"}),
    "a value for a computed column": ([], {"v": "bad", "computed": 5}),
    "a column that the server does not have": (["ALTER TABLE t DROP COLUMN gone"], {"gone": 1}),
    "a NUL": ([], {"v": "a\0b"}),
    "what no driver knows": ([], {"v": object()}),
}


@pytest.mark.parametrize("returning", [(), ("id",)])
@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refused_row_fails_only_its_own_caller(
    engine: AsyncEngine, what: str, returning: tuple[str, ...]
) -> None:
    sql, bad = REFUSALS[what]
    made = table(
        sa.Column("v", sa.Text),
        sa.Column("computed", sa.Integer, sa.Computed("1 + 1", persisted=True)),
        sa.Column("gone", sa.Integer),
    )
    await create(engine, made, *sql)
    writer = GroupWriter(engine, made, returning=returning)
    rows: list[dict[str, Any]] = [{"v": "good"} for _ in range(24)]
    for index in (0, 11, 12, 23):
        rows[index] = dict(bad)
    results = await together(writer, rows)
    refused = [index for index, result in enumerate(results) if isinstance(result, Exception)]
    assert refused == [0, 11, 12, 23]
    async with engine.connect() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(made))).scalar_one() == 20
        answered = {result["id"] for result in results if isinstance(result, dict)}
        if returning:
            assert answered == set((await connection.execute(sa.select(made.c.id))).scalars())
    await writer.close()


async def test_rows_of_others_under_row_level_security(engine: AsyncEngine) -> None:
    made = table(sa.Column("owner", sa.Text))
    await create(
        engine,
        made,
        "DROP ROLE IF EXISTS tenant_role",
        "CREATE ROLE tenant_role",
        "GRANT ALL ON t TO tenant_role",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON t USING (owner = 'me') WITH CHECK (owner = 'me')",
    )

    @sa.event.listens_for(engine.sync_engine, "begin")
    def become(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET LOCAL ROLE tenant_role")

    writer = GroupWriter(engine, made)
    results = await together(writer, [{"owner": "me"}, {"owner": "you"}, {"owner": "me"}])
    assert kinds(results) == [None, ProgrammingError, None]
    assert "row-level security" in str(results[1])
    await writer.close()
    sa.event.remove(engine.sync_engine, "begin", become)
    assert await stored(engine, made, "owner") == ["me", "me"]
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP OWNED BY tenant_role")
        await connection.exec_driver_sql("DROP ROLE tenant_role")


async def test_a_row_that_a_trigger_skips_is_answered_as_by_one_insert(engine: AsyncEngine) -> None:
    made = table(sa.Column("v", sa.Integer))
    await create(
        engine,
        made,
        _function("IF NEW.v = 5 THEN RETURN NULL; END IF; RETURN NEW;", name="skip"),
        "CREATE TRIGGER skip BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION skip()",
    )
    for returning in ((), ("v",)):
        writer = GroupWriter(engine, made, returning=returning)
        results = await together(writer, [{"v": n} for n in range(9)])
        assert results == [None if n == 5 or not returning else {"v": n} for n in range(9)]
        await writer.close()
    assert sorted(await stored(engine, made, "v")) == sorted([n for n in range(9) if n != 5] * 2)


@pytest.mark.parametrize("isolation", ["AUTOCOMMIT", "SERIALIZABLE"])
async def test_engines_of_their_own_isolation(postgres_url: str, isolation: str) -> None:
    engine = create_async_engine(postgres_url, limit=Limits(1, 4), isolation_level=isolation)
    made = table(sa.Column("v", sa.Text), sa.Column("level", sa.Text))
    await create(engine, made)
    level = sa.func.current_setting("transaction_isolation")
    writer = GroupWriter(engine, made)
    await writer.add({"v": "one", "level": level})
    results = await together(
        writer, [{"v": "two", "level": level}, {"v": "a\0", "level": "x"}, {"v": "three"}]
    )
    assert kinds(results)[0] is kinds(results)[2] is None
    assert isinstance(results[1], DBAPIError)
    wanted = "serializable" if isolation == "SERIALIZABLE" else "read committed"
    assert min(await stored(engine, made, "v")) == "one"
    assert {row for row in await stored(engine, made, "level") if row} == {wanted}
    async with engine.connect() as connection:
        timeout = (await connection.exec_driver_sql("SHOW lock_timeout")).scalar_one()
    assert timeout == "0"
    await writer.close()
    await close_engine(engine)


async def test_pages_of_one_batch_are_one_transaction(engine: AsyncEngine) -> None:
    made = table(
        *(sa.Column(f"c{n}", sa.Integer) for n in range(40)), sa.Column("v", sa.Integer, unique=True)
    )
    await create(engine, made)
    writer = GroupWriter(engine, made, returning=["v"], law=Fixed(2000))
    rows = [{**{f"c{n}": n for n in range(40)}, "v": v} for v in range(2000)]
    rows[1999]["v"] = 0
    results = await together(writer, rows)
    assert [result["v"] for result in results[:-1]] == list(range(1999))
    assert isinstance(results[-1], IntegrityError)
    assert len(await stored(engine, made, "v")) == 1999
    await writer.close()


async def test_a_migration_costs_nobody_a_row(engine: AsyncEngine) -> None:
    made = table(sa.Column("v", sa.Text))
    await create(engine, made)
    writer = GroupWriter(engine, made, returning=["id", "v"])
    other = create_stock_engine(engine.url)
    for kind in ("varchar(200)", "varchar(300)"):
        for _ in range(8):
            await writer.add({"v": "x"})  # psycopg prepares after five
            await together(writer, [{"v": "x"}] * 4)
        async with other.begin() as connection:
            await connection.exec_driver_sql(f"ALTER TABLE t ALTER COLUMN v TYPE {kind}")
        assert all(row["v"] == "y" for row in await together(writer, [{"v": "y"}] * 4))
        for _ in range(3):
            assert (await writer.add({"v": "y"}) or {})["v"] == "y"
    await other.dispose()
    await writer.close()


async def test_large_values_bound_a_batch(engine: AsyncEngine) -> None:
    made = table(sa.Column("v", pg.JSONB), sa.Column("b", sa.LargeBinary))
    await create(engine, made)
    for row in ({"v": {"text": "x" * 400_000}}, {"b": bytearray(400_000)}):
        writer = GroupWriter(engine, made, max_bytes=2**20)
        await together(writer, [row] * 20)
        assert writer.batches == 10
        await writer.close()
    behind = write_behind(engine, made, max_bytes=2**20)
    for _ in range(3):
        behind.offer({"v": ["x" * 400_000]})
    with pytest.raises(Exception, match="bytes"):
        behind.offer({"v": 1})
    await behind.close()
