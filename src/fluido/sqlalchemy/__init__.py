"""Drop-in for SQLAlchemy's async engine: a fair pool that finds its own size."""

from fluido.sqlalchemy.engine import close_engine, create_async_engine
from fluido.sqlalchemy.errors import PoolQueueFull, PoolTimeout
from fluido.sqlalchemy.limits import Limits
from fluido.sqlalchemy.pool import AdaptivePool

__all__ = ["AdaptivePool", "Limits", "PoolQueueFull", "PoolTimeout", "close_engine", "create_async_engine"]
