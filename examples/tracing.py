"""OpenTelemetry: spans of every statement and every Redis command, as with the stock libraries.

Needs opentelemetry-instrumentation-redis and opentelemetry-instrumentation-sqlalchemy. Call `trace` once,
before the first client is made. DATABASE_URL and REDIS_URL name the servers.
"""

import os

from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.trace import TracerProvider
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from fluido.redis import Redis
from fluido.sqlalchemy import close_engine, create_async_engine


def trace(provider: TracerProvider, engine: AsyncEngine) -> None:
    RedisInstrumentor().instrument(tracer_provider=provider)
    # The instrumentation of today says that it is for SQLAlchemy below 2.1, and works with 2.1 when told to.
    SQLAlchemyInstrumentor().instrument(
        engine=engine.sync_engine, tracer_provider=provider, skip_dep_check=True
    )


async def main(provider: TracerProvider) -> None:
    engine = create_async_engine(os.environ["DATABASE_URL"])
    trace(provider, engine)
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        await redis.set("traced", 1)
        await redis.get("traced")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await close_engine(engine)
