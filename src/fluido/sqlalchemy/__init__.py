"""Drop-in for SQLAlchemy's async engine: a fair pool that finds its own size, and group writes."""

from fluido._extras import need

need("sqlalchemy", "sqlalchemy")

from fluido.sqlalchemy._engine import async_engine_from_config, close_engine, create_async_engine, pool_of
from fluido.sqlalchemy._errors import OutcomeUnknown, PoolQueueFull, PoolTimeout
from fluido.sqlalchemy._limits import Limits, default_law
from fluido.sqlalchemy._pool import AdaptivePool
from fluido.sqlalchemy._replicas import ReadReplicas
from fluido.sqlalchemy._stream import RowStreams
from fluido.sqlalchemy._writer import GroupWriter, write_behind

__all__ = [
    "AdaptivePool",
    "GroupWriter",
    "Limits",
    "OutcomeUnknown",
    "PoolQueueFull",
    "PoolTimeout",
    "ReadReplicas",
    "RowStreams",
    "async_engine_from_config",
    "close_engine",
    "create_async_engine",
    "default_law",
    "pool_of",
    "write_behind",
]
