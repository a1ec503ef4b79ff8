"""Rows of mapped classes: what a session gives its objects is in the row of a group too."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fluido.sqlalchemy import GroupWriter, Limits, close_engine, create_async_engine

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)
    kind: Mapped[str | None] = mapped_column("kind_of")
    name: Mapped[str] = mapped_column(insert_default="nobody")
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_on": "kind", "polymorphic_identity": "person"}


class Manager(Person):
    level: Mapped[int | None]
    __mapper_args__: ClassVar[dict[str, Any]] = {"polymorphic_identity": "manager"}


class Note(Base):
    __tablename__ = "versioned"
    id: Mapped[int] = mapped_column(sa.Identity(), primary_key=True)
    version: Mapped[int] = mapped_column("version_no")
    text: Mapped[str]
    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": version}


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(postgres_url, limit=Limits(min=1, max=4))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield engine
    await close_engine(engine)


async def stored(engine: AsyncEngine, kind: type[Base]) -> list[Any]:
    """The rows, which are then gone."""
    table = kind.metadata.tables[kind.__tablename__]
    async with engine.begin() as connection:
        columns = [column for column in table.columns if column.key != "id"]
        found = (await connection.execute(sa.select(*columns).order_by(table.c.id))).all()
        await connection.execute(sa.delete(table))
    return [tuple(row) for row in found]


CLASSES: dict[type[Base], list[dict[str, Any]]] = {
    Person: [{"name": "ana"}, {}, {"kind": "person"}],
    Manager: [{"name": "eva", "level": 1}, {"level": 2}, {}],
    Note: [{"text": "a"}, {"text": "b"}],
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("alone", [False, True])
async def test_rows_are_those_that_a_session_stores(
    engine: AsyncEngine, kind: type[Base], alone: bool
) -> None:
    rows = CLASSES[kind]
    async with AsyncSession(engine) as session:
        for row in rows:
            session.add(kind(**row))
            await session.flush()
        await session.commit()
    right = await stored(engine, kind)
    writer = GroupWriter(engine, kind, returning=["id"])
    if alone:
        for row in rows:
            await writer.add(row)
    else:
        await asyncio.gather(*(writer.add(row) for row in rows))
    async with AsyncSession(engine) as session:  # and it finds its objects again
        assert len((await session.scalars(sa.select(kind))).all()) == len(rows)
    assert await stored(engine, kind) == right
    await writer.close()


async def test_what_a_row_says_itself_stays(engine: AsyncEngine) -> None:
    writer = GroupWriter(engine, Manager)
    await asyncio.gather(writer.add({"kind": "person"}), writer.add({"level": 3}))
    assert await stored(engine, Manager) == [("person", "nobody", None), ("manager", "nobody", 3)]
    await writer.close()
