"""An older redis-py is no ImportError: it takes the stock path and says so, in the log and in `counts()`."""

import asyncio
import logging
from typing import Any

import pytest
import redis
import redis.asyncio

import fluido.redis._adapter
from fluido.redis import Redis
from fluido.redis import _client as client
from fluido.redis._adapter import obstacle

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture
def looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(client, "_TOLD", set())
    obstacle.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    obstacle.cache_clear()


async def use(url: str) -> str | None:
    async with Redis.from_url(url, decode_responses=True) as client:
        assert await client.set("k", 1)
        assert await asyncio.gather(*[client.get("k") for _ in range(5)]) == ["1"] * 5
        assert await client.pipeline().get("k").execute() == ["1"]
        waiting = asyncio.create_task(client.blpop("list", timeout=5))
        await client.rpush("list", "x")
        assert await waiting == ["list", "x"] or waiting.result() == ("list", "x")
        if client.counts().fallback is not None:
            assert client.counts().shared == 0
            assert client.counts().ordinary == 8
        return client.counts().fallback


async def test_below_the_oldest_version_all_is_stock_and_said_once(
    redis_url: str, looked_at_anew: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if fluido.redis._adapter.version() >= fluido.redis._adapter.OLDEST:
        looked_at_anew.setattr(redis, "__version__", "5.2.1")
    with caplog.at_level(logging.INFO, logger="fluido.redis"):
        for _ in range(2):
            assert await use(redis_url) == f"redis-py {redis.__version__} is older than 6.4"
    assert [record.message for record in caplog.records] == [
        f"commands are not multiplexed: redis-py {redis.__version__} is older than 6.4"
    ]


async def test_from_the_oldest_version_on_commands_are_shared(redis_url: str) -> None:
    expected = fluido.redis._adapter.version() >= fluido.redis._adapter.OLDEST
    assert (await use(redis_url) is None) is expected


async def moved(self: Any, connection: Any) -> Any:
    """A private method with another signature than the one we know."""


# As a redis-py might that calls no step that we know.
OTHER = "async def execute_command(self, *args, **options): return await self.connection_pool.run(args)"


@pytest.mark.skipif(
    fluido.redis._adapter.version() < fluido.redis._adapter.OLDEST, reason="nothing is shared anyway"
)
async def test_a_private_part_that_changed_its_signature_is_noticed(
    looked_at_anew: pytest.MonkeyPatch,
) -> None:
    assert obstacle() is None
    looked_at_anew.setattr(redis.asyncio.client.Redis, "_send_command_parse_response", moved)
    obstacle.cache_clear()
    assert obstacle() == "redis-py has moved _send_command_parse_response"
    looked_at_anew.undo()
    obstacle.cache_clear()
    scope: dict[str, Any] = {}
    exec(OTHER, vars(redis.asyncio.client), scope)  # noqa: S102  # a method as redis-py's module makes it
    looked_at_anew.setattr(redis.asyncio.client.Redis, "execute_command", scope["execute_command"])
    obstacle.cache_clear()
    told = obstacle()
    assert told is not None
    assert "_send_command_parse_response in execute_command" in told
