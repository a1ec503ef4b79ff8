"""Fixtures for tests, to be put into conftest.py: a session that is rolled back, and an emptied Redis.

Each test gets an engine of its own, because each has an event loop of its own. Nothing that a test commits
stays: its commits are savepoints within a transaction that is rolled back. TEST_DATABASE_URL and
TEST_REDIS_URL name servers that tests may empty.
"""

import os
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from fluido.redis import Redis
from fluido.sqlalchemy import close_engine, create_async_engine


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def session() -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(os.environ["TEST_DATABASE_URL"], pool_size=1, max_overflow=4)
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with AsyncSession(
            bind=connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        ) as session:
            yield session
        await transaction.rollback()
    await close_engine(engine)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with Redis.from_url(os.environ["TEST_REDIS_URL"], decode_responses=True) as client:
        await client.flushdb()
        yield client
