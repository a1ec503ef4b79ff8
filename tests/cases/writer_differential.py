"""Random tables, rows and companions, stored by a writer and, row by row, by the stock library."""

import asyncio
import contextvars
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as create_stock_engine

from fluido import Fixed
from fluido.sqlalchemy import GroupWriter, Limits, close_engine, create_async_engine

tenant = contextvars.ContextVar("tenant", default="nobody")
Rows = list[tuple[str, dict[str, Any]]]


class Tags(sa.types.TypeDecorator[list[int]]):
    """A list column by a decorator."""

    impl = pg.ARRAY(sa.Integer)
    cache_ok = True


class Codes(sa.types.TypeDecorator[str]):
    """Values by the user's own code."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else f"{tenant.get()}<{value}>"


class Lower(sa.types.UserDefinedType[str]):
    """A type with a bind expression."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "text"

    def bind_expression(self, bindvalue: Any) -> Any:
        return sa.func.lower(bindvalue, type_=self)


text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
small = st.integers(-(2**15), 2**15 - 1)
json = st.recursive(
    st.none() | st.booleans() | small | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=2),
    max_leaves=5,
)
dates = st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))
times = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))  # noqa: DTZ001
money = st.decimals(-(10**6), 10**6, places=2)
ranges = st.tuples(small, small).map(lambda ends: pg.Range(min(ends), max(ends)))
bad = st.sampled_from(["a\0b", "\ud800", "not this", 2**70, 10**40, b"\xff", {"a": 1}, object(), ["x"], 1.5])

# A column for each type: (its type, good values). Bad ones come from `bad` and from other columns.
KINDS: dict[str, tuple[Callable[[], Any], st.SearchStrategy[Any]]] = {
    "short": (lambda: sa.String(3), text),
    "words": (lambda: sa.Text, text),
    "padded": (lambda: sa.CHAR(4), st.text("abc ", max_size=5)),
    "small": (lambda: sa.SmallInteger, small | st.booleans()),
    "number": (lambda: sa.Integer, st.integers(-(2**33), 2**33)),
    "big": (lambda: sa.BigInteger, st.integers(-(2**65), 2**65)),
    "price": (lambda: sa.Numeric(8, 2), money | small | st.floats(-1e5, 1e5)),
    "ratio": (lambda: sa.Float, st.floats(allow_nan=False) | small | st.booleans()),
    "real": (lambda: pg.REAL, st.floats(-1e5, 1e5, width=32) | small),
    "flag": (lambda: sa.Boolean, st.booleans()),
    "day": (lambda: sa.Date, dates),
    "moment": (lambda: sa.DateTime, times),
    "instant": (lambda: sa.DateTime(timezone=True), times.map(lambda at: at.replace(tzinfo=dt.UTC)) | times),
    "second": (lambda: pg.TIMESTAMP(precision=0), times),
    "span": (lambda: sa.Interval, st.timedeltas(dt.timedelta(-999), dt.timedelta(999))),
    "raw": (lambda: sa.LargeBinary, st.binary(max_size=5)),
    "uid": (lambda: sa.Uuid, st.uuids()),
    "uid_text": (
        lambda: sa.Uuid(as_uuid=False),
        st.uuids().map(str) | st.uuids().map(lambda u: str(u).upper()),
    ),
    "doc": (lambda: pg.JSONB, json | st.just(sa.null()) | st.just(sa.JSON.NULL)),
    "doc_text": (lambda: sa.JSON(none_as_null=True), json),
    "mood": (lambda: sa.Enum("glad", "sad", name="mood"), st.sampled_from(["glad", "sad", "odd"])),
    "plain_mood": (lambda: sa.Enum("glad", "sad", native_enum=False), st.sampled_from(["glad", "sad"])),
    "many": (lambda: pg.ARRAY(sa.Integer), st.lists(small | st.none(), max_size=3)),
    "names": (lambda: pg.ARRAY(sa.Text), st.lists(text, max_size=3)),
    "tags": (lambda: Tags, st.lists(small, max_size=3)),
    "codes": (lambda: Codes, text),
    "lower": (lambda: Lower, text),
    "address": (lambda: pg.INET, st.ip_addresses(v=4).map(str)),
    "bits": (lambda: pg.BIT(3), st.sampled_from(["101", "000", "11"])),
    "between": (lambda: pg.INT4RANGE, ranges),
    "betweens": (lambda: pg.INT4MULTIRANGE, st.lists(ranges, max_size=2).map(pg.MultiRange)),
    "pickled": (lambda: sa.PickleType, st.dictionaries(text, small, max_size=2)),
    "checked": (lambda: sa.Integer, st.integers(0, 9)),
}
NAMES = sorted(KINDS)


def _others(context: Any) -> list[Any]:
    parameters = context.get_current_parameters()
    return [parameters.get("n"), parameters["by_python"]]


SERVER = [
    sa.Column("tenant", sa.Text, server_default=sa.text("current_setting('app.tenant', true)")),
    sa.Column("doubled", sa.Integer, sa.Computed("1 + 1", persisted=True)),
    sa.Column("by_python", sa.Integer, default=7),
    sa.Column("by_context", sa.Text, default=lambda context: str(_others(context))),
    sa.Column("by_server", sa.Text, server_default="server"),
    sa.Column("by_sql", sa.Text, default=sa.func.upper("sql")),
]


def tables(metadata: sa.MetaData) -> list[tuple[sa.Table, sa.Table]]:
    """Pairs of equal tables, with six types each, all with the defaults of every kind."""
    made = []
    for start in range(0, len(NAMES), 6):
        names = NAMES[start : start + 6]
        columns = [sa.Column(name, KINDS[name][0]()) for name in names]
        if "checked" in names:
            columns.append(sa.CheckConstraint("checked <> 3"))  # type: ignore[arg-type]
        ours = sa.Table(
            f"ours_{start}",
            metadata,
            sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
            sa.Column("n", sa.Integer),
            *columns,
            *(column._copy() for column in SERVER),
        )
        made.append((ours, ours.to_metadata(metadata, name=f"theirs_{start}")))
    return made


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, Rows, bool]:
    """Which table, its rows with their callers, and whether they want something returned."""
    which = draw(st.integers(0, (len(NAMES) - 1) // 6))
    names = NAMES[6 * which : 6 * which + 6]

    def value(name: str) -> st.SearchStrategy[Any]:
        good = KINDS[name][1] | st.none()
        return st.integers(0, 40).flatmap(lambda n: bad if n == 40 else good)

    # Most rows of a batch are alike, or there would be nothing to put into one statement.
    shape = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    alike = st.fixed_dictionaries({name: value(name) for name in shape})
    other = st.fixed_dictionaries({}, optional={name: value(name) for name in names})
    row = st.integers(0, 6).flatmap(lambda n: other if n == 6 else alike)
    callers = st.sampled_from(draw(st.sampled_from([["ann"], ["ann", "bob"], ["cy", "ann", "bob"]])))
    rows = draw(st.lists(st.tuples(callers, row), min_size=1, max_size=7))
    return which, rows, draw(st.booleans())


@dataclass
class Pair:
    """A writer's engine beside a stock one, on one database, with the tables of both."""

    ours: AsyncEngine
    theirs: AsyncEngine
    tables: list[tuple[sa.Table, sa.Table]]
    writers: dict[tuple[int, bool], GroupWriter] = field(default_factory=dict)

    def writer(self, which: int, returning: bool) -> GroupWriter:
        """The writer of one table, kept as long as the engines."""
        if (which, returning) not in self.writers:
            table = self.tables[which][0]
            names = ["id", "n", *(column.key for column in table.columns if column.key in KINDS)]
            self.writers[which, returning] = GroupWriter(
                self.ours, table, returning=names if returning else (), law=Fixed(100)
            )
        return self.writers[which, returning]

    async def close(self) -> None:
        """Close the writers before the engines."""
        for writer in self.writers.values():
            await writer.close()
        await close_engine(self.ours)
        await self.theirs.dispose()


def hooked(engine: AsyncEngine) -> None:
    """Each transaction knows its caller."""

    @sa.event.listens_for(engine.sync_engine, "checkout")
    def checkout(dbapi: Any, _record: Any, _proxy: Any) -> None:
        cursor = dbapi.cursor()
        cursor.execute(f"SELECT set_config('app.tenant', '{tenant.get()}', false)")
        cursor.close()
        dbapi.commit()


async def pair(url: str, *, autocommit: bool, hooks: bool) -> Pair:
    """Open both engines and make the tables."""
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    ours, theirs = (
        create_async_engine(url, limit=Limits(1, 6), **options),
        create_stock_engine(url, **options),
    )
    metadata = sa.MetaData()
    made = tables(metadata)
    async with theirs.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    if hooks:
        hooked(ours)
        hooked(theirs)
    return Pair(ours, theirs, made)


async def one_by_one(engine: AsyncEngine, table: sa.Table, rows: Rows) -> list[str | None]:
    """What stock makes of each row, in its caller's context: None, or the name of its error."""

    async def insert(who: str, row: dict[str, Any]) -> str | None:
        tenant.set(who)
        try:
            async with engine.connect() as connection:
                await connection.execute(sa.insert(table), row or None)
                await connection.commit()
        except Exception as error:  # noqa: BLE001
            return type(error).__name__
        return None

    return [await asyncio.create_task(insert(who, row)) for who, row in rows]


async def content(
    connection: AsyncConnection, table: sa.Table, asked: Sequence[str]
) -> tuple[list[str], list[Any]]:
    """Every row as the server prints it, without its id, and as SQLAlchemy reads it; then none is left."""
    shown = [sa.cast(column, sa.Text) for column in table.columns if column.key != "id"]
    printed = sorted(str(tuple(row)) for row in await connection.execute(sa.select(*shown)))
    read = []
    if asked:
        found = await connection.execute(sa.select(*(table.c[name] for name in asked)))
        read = [row._asdict() for row in found]
    await connection.execute(sa.delete(table))
    return printed, read


async def difference(both: Pair, which: int, rows: Rows, returning: bool) -> str | None:
    """Store the rows both ways; what differs, or None."""
    ours, theirs = both.tables[which]
    writer = both.writer(which, returning)
    names = ["id", "n", *(column.key for column in ours.columns if column.key in KINDS)]
    rows = [(who, {**row, "n": number} if row else {}) for number, (who, row) in enumerate(rows)]

    async def add(who: str, row: dict[str, Any]) -> Any:
        tenant.set(who)
        return await writer.add(row)

    tasks = [asyncio.create_task(add(who, row)) for who, row in rows]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [type(answer).__name__ if isinstance(answer, BaseException) else None for answer in answers]
    expected = await one_by_one(both.theirs, theirs, rows)
    async with both.theirs.connect() as connection:
        mine, read = await content(connection, ours, names if returning else ())
        other, _ = await content(connection, theirs, ())
        await connection.commit()
    if [error is None for error in errors] != [error is None for error in expected]:
        return f"other rows are refused: {errors}, by stock {expected} of {rows}"
    if mine != other:
        return f"stored {mine}, stock stores {other} of {rows}"
    if returning:
        if any(isinstance(answer, dict) and answer["n"] not in {None, n} for n, answer in enumerate(answers)):
            return f"a caller was given another's row: {answers}"
        given = [answer for answer in answers if isinstance(answer, dict)]
        key: Callable[[Any], str] = repr
        if sorted(given, key=key) != sorted(read, key=key):
            return f"answered {given}, stored {read}"
    return None
