"""Group writers and buffers of rows."""

from typing import assert_type

from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fluido._metrics import FlowStats
from fluido.sqlalchemy import GroupWriter, create_async_engine, write_behind
from fluido.telemetry.prometheus import FlowCollector


class Base(DeclarativeBase):
    """As SQLAlchemy's own guide has it."""


class Note(Base):
    """A mapped class."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)


async def a_program() -> None:
    """Everything of the guide."""
    engine = create_async_engine("postgresql+asyncpg://")
    table = Table("notes", MetaData(), Column("id", Integer, primary_key=True))
    writer = GroupWriter(engine, table, returning=["id"], key=["id"])
    print(await writer.add({"id": 1}))
    await GroupWriter(engine, Note).add({"id": 1})
    behind = write_behind(engine, Note)
    behind.offer({"id": 1})
    FlowCollector(lambda: [writer, behind])
    assert_type(behind.stats(), FlowStats)
    await behind.close()
    await writer.close()


def what_is_refused() -> None:
    """Each of these is an error; mypy says so when it is none."""
    engine = create_async_engine("postgresql+asyncpg://")
    GroupWriter(engine, "notes")  # type: ignore[arg-type]
    GroupWriter("postgresql+asyncpg://", Note)  # type: ignore[arg-type]
    GroupWriter(engine, Note, partiton=None)  # type: ignore[call-arg]
