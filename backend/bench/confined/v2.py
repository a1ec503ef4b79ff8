"""Sentinel in a schema and under a key prefix of its own: `bench.confined.v2:app`."""

import os

from app.cache.dynamic_redis import dynamic_redis_cache
from bench.confined import PREFIX_VARIABLE

dynamic_redis_cache.configure(namespace=os.environ[PREFIX_VARIABLE])

from app.main import app  # noqa: E402 - the namespace comes first

__all__ = ["app"]
