"""`asyncio.run` per job, as in a Celery, RQ or Dramatiq worker: what lives in a loop ends with its job.

`count_words` is the plain function that the worker calls; with Celery put `@celery.task` above it. The Redis
client may stay for all jobs: it moves to the loop that uses it. An engine's connections belong to their loop,
so the engine is closed before the loop ends. DATABASE_URL and REDIS_URL name the servers.
"""

import asyncio
import os

from sqlalchemy import text

from fluido.redis import Redis
from fluido.sqlalchemy import create_async_engine

redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=1, max_overflow=4)


def count_words(sentence: str) -> int:
    return asyncio.run(_count(sentence))


async def _count(sentence: str) -> int:
    try:
        async with engine.connect() as connection:
            asked = text("SELECT cardinality(string_to_array(:sentence, ' '))")
            words = await connection.scalar(asked, {"sentence": sentence})
        await redis.incrby("words", words)
        return int(words)
    finally:
        await engine.dispose()  # empties the pool; the next job opens it again
