"""Group writes on a real PostgreSQL: an acknowledged row is there, once, and a bad row hurts only itself."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.errors import BufferFull, Closed
from fluido.sqlalchemy import GroupWriter, Limits, close_engine, create_async_engine, write_behind

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

METADATA = sa.MetaData()
ROWS = sa.Table(
    "written",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("name", sa.String(5), nullable=False),
    sa.Column("token", sa.Uuid, unique=True),
    sa.Column("made_by", sa.Text, default=lambda: "python"),
    sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
)
KINDS = sa.Table(
    "kinds",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("mood", sa.Enum("glad", "sad", name="mood")),
    sa.Column("price", sa.Numeric(10, 2)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("data", postgresql.JSONB),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("flag", sa.Boolean),
    sa.Column("ratio", sa.Float),
)


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, postgres_url: str) -> AsyncIterator[AsyncEngine]:
    url = postgres_url.replace("+asyncpg", f"+{request.param}")
    engine = create_async_engine(url, limit=Limits(min=1, max=4))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield engine
    await close_engine(engine)


async def names(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(sa.select(ROWS.c.name).order_by(ROWS.c.id))).scalars())


async def test_many_callers_one_insert_in_order(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS, returning=["id", "made_by"])
    answers = await asyncio.gather(*(writer.add({"name": f"n{number:03}"}) for number in range(200)))
    assert await names(engine) == [f"n{number:03}" for number in range(200)]
    ids = [answer["id"] for answer in answers if answer is not None]
    assert ids == sorted(ids)
    assert len(ids) == 200
    assert {answer["made_by"] for answer in answers if answer is not None} == {"python"}
    assert writer.batches < 20
    await writer.close()
    with pytest.raises(Closed):
        await writer.add({"name": "late"})


async def test_every_kind_of_value_arrives_as_it_was(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, KINDS)
    row: dict[str, Any] = {
        "id": 1,
        "mood": "glad",
        "price": Decimal("12.34"),
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "data": {"a": [1, None, "ñ"]},
        "raw": b"\x00\xff",
        "flag": True,
        "ratio": 0.5,
    }
    empty = dict.fromkeys(row) | {"id": 2}
    await asyncio.gather(writer.add(row), writer.add(empty))
    async with engine.connect() as connection:
        stored = (await connection.execute(sa.select(KINDS).order_by(KINDS.c.id))).mappings().all()
    assert dict(stored[0]) == row
    assert stored[1]["mood"] is stored[1]["raw"] is stored[1]["price"] is None


async def test_a_bad_row_fails_only_its_own_caller(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS)
    rows: list[dict[str, Any]] = [{"name": f"n{number:02}"} for number in range(40)]
    rows[7]["name"] = "much too long"  # a cast to varchar(5) would have cut it in silence
    rows[21]["name"] = None
    results = await asyncio.gather(*(writer.add(row) for row in rows), return_exceptions=True)
    assert isinstance(results[7], DBAPIError)
    assert isinstance(results[21], IntegrityError)
    assert [result for result in results if result is not None] == [results[7], results[21]]
    assert await names(engine) == [f"n{number:02}" for number in range(40) if number not in {7, 21}]


async def test_rows_of_different_columns_travel_together(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS)
    rows = [
        {"name": "a"},
        {"name": "b", "made_by": "me"},
        {"name": "c", "token": uuid.uuid4()},
        {"name": "d"},
    ]
    await asyncio.gather(*(writer.add(row) for row in rows))
    assert await names(engine) == ["a", "b", "c", "d"]
    assert writer.batches == 1


async def test_a_key_stores_a_row_once_and_answers_with_it_again(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS, returning=["id", "name"], key=["token"])
    token = uuid.uuid4()
    first = await writer.add({"name": "one", "token": token})
    again = await asyncio.gather(
        writer.add({"name": "two", "token": token}), writer.add({"name": "new", "token": uuid.uuid4()})
    )
    assert first is not None
    assert again[0] == first
    assert again[1] is not None
    assert again[1]["name"] == "new"
    assert await names(engine) == ["one", "new"]


async def test_a_cancelled_caller_takes_its_row_back_if_it_was_not_sent(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS)
    first = asyncio.create_task(writer.add({"name": "sent"}))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(writer.add({"name": "back"}))
    third = asyncio.create_task(writer.add({"name": "kept"}))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, third)
    assert await names(engine) == ["sent", "kept"]


async def test_names_and_bounds_are_checked_before_anything_is_queued(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, ROWS, max_pending=1)
    with pytest.raises(ValueError, match="written has no column nmae"):
        await writer.add({"nmae": "x"})
    with pytest.raises(ValueError, match="no column nothing"):
        GroupWriter(engine, ROWS, returning=["nothing"])
    results = await asyncio.gather(*(writer.add({"name": "x"}) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), BufferFull, BufferFull]


async def test_write_behind_stores_without_anybody_waiting(engine: AsyncEngine) -> None:
    blamed: list[Any] = []
    behind = write_behind(engine, ROWS, rejected=lambda rows, error: blamed.append((len(rows), error)))
    for number in range(50):
        behind.offer({"name": f"b{number:02}"})
    behind.offer({"name": "much too long"})
    await behind.close()
    assert await names(engine) == [f"b{number:02}" for number in range(50)]
    assert [count for count, _ in blamed] == [1]
