"""One deadline a request: what is left of it bounds the database, and a standby is not ready."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import embedded
from tests.servers.sentinel import Running, eventually, running

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Stack]:
    folder: Path = tmp_path_factory.mktemp("ground")
    with embedded.stack(data_dir=folder, engine="synthetic", redis=False, durable=False) as found:
        yield found


async def test_the_deadline_ends_a_wait_for_the_database(ground: embedded.Stack) -> None:
    async with running(ground.database_url, None, ground.engine_url) as sentinel:
        assert (await sentinel.chat("one")).status_code == 200
        with psycopg.connect(ground.database_url.replace("+asyncpg", "")) as link:
            link.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            late = await sentinel.chat("two", deadline_s=1.5)
        assert late.status_code == 503
        assert late.json()["error"]["code"] == "waited_too_long"
        assert late.json()["error"]["detail"]["waited_s"] < 3.0
        await eventually(lambda: idle(sentinel), within_s=5.0)
        assert (await sentinel.chat("three")).status_code == 200


async def idle(sentinel: Running) -> bool:
    return sentinel.db.stats().inflight == 0


async def test_a_database_that_takes_no_writes_is_not_ready(ground: embedded.Stack) -> None:
    assert ground.postgres is not None
    async with running(ground.database_url, None, ground.engine_url) as sentinel:
        assert (await sentinel.client.get("/health/ready")).status_code == 200
        await asyncio.to_thread(set_read_only, ground.postgres, "on")
        try:
            async with running(ground.database_url, None, ground.engine_url) as other:
                ready = await other.client.get("/health/ready")
                assert ready.status_code == 503
        finally:
            await asyncio.to_thread(set_read_only, ground.postgres, "off")


def set_read_only(server: embedded.Postgres, value: str) -> None:
    server.query(f"ALTER DATABASE sentinel SET default_transaction_read_only = {value}", database="postgres")
