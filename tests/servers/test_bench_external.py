"""On the customer's servers the benchmark leaves exactly what it found, and says so when it may not work."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import redis.asyncio
from sqlalchemy import make_url

import embedded
from bench.external import NAME, Borrowed, Services, services
from bench.server import ServerError
from bench.workloads import Question
from tests.servers.sentinel import eventually

pytestmark = pytest.mark.anyio

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sentinel_bench%'"
TABLES = (
    "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)
ASKED = Question("talk", "talk", 0, "One?", 8)


async def database(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(url.replace("+asyncpg", ""))


@pytest.fixture
async def customer(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> AsyncIterator[Services]:
    """Servers with something in them that is nobody's business."""
    link = await database(postgres_url)
    await link.execute("CREATE TABLE ledger (id int); INSERT INTO ledger VALUES (7)")
    cache = redis.asyncio.Redis.from_url(redis_url)
    await cache.set("theirs", "untouched")
    yield Services(postgres_url, redis_url, synthetic_engine.url, synthetic_engine.model.name)
    await link.execute("DROP TABLE ledger")
    await cache.delete("theirs")
    await cache.aclose()
    await link.close()


async def left(customer: Services) -> tuple[object, object, object]:
    """Tables, what is in theirs, and Redis keys."""
    link = await database(customer.database_url)
    cache = redis.asyncio.Redis.from_url(customer.redis_url)
    try:
        assert await link.fetch(SCHEMAS) == []
        tables = sorted(tuple(row) for row in await link.fetch(TABLES))
        return tables, await link.fetchval("SELECT sum(id) FROM ledger"), sorted(await cache.keys("*"))
    finally:
        await cache.aclose()
        await link.close()


async def test_both_arms_work_and_nothing_is_left(customer: Services) -> None:
    before = await left(customer)
    async with Borrowed(customer) as stage:
        for arm, contestant in stage.contestants.items():
            await stage.settle(arm, {"talk": [("What?", "That.")]})
            assert (await contestant.sender(ASKED)).output_tokens == 8
        link = await database(customer.database_url)
        assert len(await link.fetch(SCHEMAS)) == 2
        inside = f'SELECT count(*) FROM "{stage.prefix}_v2".messages'
        assert await link.fetchval(inside) == 4
        await link.close()
        cache = redis.asyncio.Redis.from_url(customer.redis_url)
        wanted = {f"{stage.prefix}_v1", f"{stage.prefix}_v2", "theirs"}

        async def are_kept() -> bool:
            return {key.decode().partition(":")[0] for key in await cache.keys("*")} >= wanted

        # V2 writes histories behind its answers.
        await eventually(are_kept, within_s=5)
        await cache.aclose()
    assert await left(customer) == before


async def test_ctrl_c_removes_it_too(customer: Services) -> None:
    before = await left(customer)
    ready = asyncio.Event()

    async def work() -> None:
        async with Borrowed(customer, ("v1",)) as stage:
            await stage.contestants["v1"].sender(ASKED)
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(customer) == before


async def test_a_role_without_the_right_is_told_in_one_sentence(customer: Services) -> None:
    link = await database(customer.database_url)
    await link.execute("CREATE ROLE poor LOGIN PASSWORD 'x'")
    try:
        url = make_url(customer.database_url).set(username="poor", password="x")
        poor = Services(url.render_as_string(hide_password=False), customer.redis_url, customer.engine_url)
        before = await left(customer)
        with pytest.raises(ServerError, match=r"poor may not create a schema .* Nothing was touched"):
            async with Borrowed(poor):
                pass
        assert await left(customer) == before
    finally:
        await link.execute("DROP ROLE poor")
        await link.close()


async def test_what_does_not_answer_is_named_before_anything_is_made(customer: Services) -> None:
    before = await left(customer)
    for wrong, sentence in (
        (Services(customer.database_url, customer.redis_url, "http://127.0.0.1:9"), "Nobody answers"),
        (
            Services(customer.database_url, "redis://127.0.0.1:9/0", customer.engine_url),
            "Redis does not answer",
        ),
        (
            Services("postgresql+asyncpg://a:b@127.0.0.1:9/c", customer.redis_url, customer.engine_url),
            "not let us in",
        ),
    ):
        with pytest.raises(ServerError, match=sentence):
            async with Borrowed(wrong):
                pass
    assert await left(customer) == before


def test_what_is_missing_is_named_and_what_will_be_done_is_said() -> None:
    with pytest.raises(ServerError, match="REDIS_URL and OLLAMA_URL"):
        services({"DATABASE_URL": "postgresql://u:p@h/d"})
    with pytest.raises(ServerError, match="not an address"):
        services({"DATABASE_URL": "nonsense", "REDIS_URL": "redis://h", "OLLAMA_URL": "http://h"})
    given = services(
        {"DATABASE_URL": "postgres://u:secret@h/d", "REDIS_URL": "redis://h", "OLLAMA_URL": "http://h"}
    )
    assert given.database_url.startswith("postgresql+asyncpg://")
    said = " ".join(given.describe())
    assert NAME in said
    assert "drops them" in said
    assert "secret" not in said
