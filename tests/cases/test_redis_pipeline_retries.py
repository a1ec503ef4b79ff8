"""`retry_on_error` names an error of the server: a pipeline is repeated, and its error said, as with stock.

With `raise_on_error=False` nothing is raised, so there is nothing to repeat.
"""

from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from fluido.redis import Redis

from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]
FAILS = "redis.call('INCR', KEYS[1]); return redis.error_reply('ERR not today')"


async def outcome(make: Any, url: str, error: type[Exception], transaction: bool, raises: bool) -> Any:
    """What a pipeline answers or raises, and how often its script ran."""
    async with make.from_url(url, retry=Retry(NoBackoff(), 2), retry_on_error=[error]) as client:
        await client.delete("n")
        pipe = client.pipeline(transaction=transaction)
        pipe.set("k", "v").eval(FAILS, 1, "n").get("k")
        try:
            said: Any = [str(answer) for answer in await pipe.execute(raise_on_error=raises)]
        except RedisError as raised:
            said = (type(raised), str(raised))
        ran = int(await client.get("n"))
        assert await client.pipeline(transaction=transaction).get("k").execute() == [b"v"]
        return said, ran


@pytest.mark.parametrize("error", [ResponseError, ReadOnlyError])
@pytest.mark.parametrize("transaction", [False, True])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_pipeline_fails_and_is_repeated_as_with_stock(
    redis_url: str, error: type[Exception], transaction: bool, raises: bool
) -> None:
    right = await outcome(redis.asyncio.Redis, redis_url, error, transaction, raises)
    assert right[1] == (3 if raises and error is ResponseError else 1)
    assert await outcome(Redis, redis_url, error, transaction, raises) == right
