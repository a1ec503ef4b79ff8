"""saq's tests import `tests.helpers`, which its source archive leaves out: ours has the same five names."""

import unittest
from typing import Any

from saq.queue import Queue


async def create_redis_queue(url: str = "redis://localhost:6379", **options: Any) -> Any:
    queue: Any = Queue.from_url(url, **options)
    await queue.connect()
    await queue.redis.flushdb()
    return queue


async def cleanup_queue(queue: Any) -> None:
    await queue.redis.flushdb()
    await queue.disconnect()


async def create_postgres_queue(**_: Any) -> Any:
    raise unittest.SkipTest("saq's PostgreSQL queue is not what is compared here")


async def setup_postgres() -> None:
    raise unittest.SkipTest("saq's PostgreSQL queue is not what is compared here")


async def teardown_postgres() -> None:
    """Nothing was set up."""
