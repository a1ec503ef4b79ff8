"""Transactions and connection state sent by hand, values of odd types, and what a type checker sees."""

import asyncio
import inspect
import warnings
from collections.abc import AsyncIterator
from typing import Any, get_type_hints

import pytest
import redis.asyncio
from redis.exceptions import DataError, ResponseError

from fluido.redis import Redis
from fluido.redis._options import Options

from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.parametrize("make", [redis.asyncio.Redis, Redis])
@pytest.mark.filterwarnings("ignore:MULTI was sent:RuntimeWarning")
async def test_multi_by_hand_queues_as_in_stock(redis_url: str, make: Any) -> None:
    async with make.from_url(redis_url) as client, redis.asyncio.Redis.from_url(redis_url) as other:
        assert await client.execute_command("MULTI") in {b"OK", "OK"}
        await client.execute_command("SET", "a", 1)
        await client.incr("n")
        assert await other.mget("a", "n") == [None, None]
        assert await client.execute_command("EXEC") == [b"OK", 1]
        assert await client.get("a") == b"1"
        await client.execute_command("MULTI")
        await client.incr("n")
        await client.execute_command("DISCARD")
        assert await client.get("n") == b"1"


@pytest.mark.parametrize("make", [redis.asyncio.Redis, Redis])
@pytest.mark.filterwarnings("ignore:WATCH was sent:RuntimeWarning")
async def test_watch_by_hand_watches_as_in_stock(redis_url: str, make: Any) -> None:
    async with make.from_url(redis_url) as client, redis.asyncio.Redis.from_url(redis_url) as other:
        await client.execute_command("WATCH", "a")
        assert await client.get("a") is None
        await other.set("a", "theirs")
        await client.execute_command("MULTI")
        await client.set("a", "ours")
        assert await client.execute_command("EXEC") is None
        assert await client.get("a") == b"theirs"


async def test_a_transaction_by_hand_is_its_tasks_own(client: Redis) -> None:
    with pytest.warns(RuntimeWarning, match="MULTI was sent by hand"):
        await client.execute_command("MULTI")
    await client.incr("n")
    other = asyncio.create_task(client.incr("m"))  # another task is not in the block
    assert await other == 1
    assert await client.execute_command("EXEC") == [1]
    shared = client.counts().shared
    await client.incr("n")
    assert client.counts().shared == shared + 1  # and afterwards commands are shared again


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
async def test_a_task_that_ends_in_the_middle_gives_no_queueing_connection_to_others(client: Redis) -> None:
    async def begin() -> None:
        await client.execute_command("MULTI")
        await client.execute_command("SET", "a", 1)

    await asyncio.create_task(begin())
    for _ in range(5):
        assert await client.execute_command("CLIENT", "ID") != b"QUEUED"
    assert await client.get("a") is None
    with pytest.raises(ResponseError, match="EXEC without MULTI"):
        await client.execute_command("EXEC")


async def test_state_of_a_connection_is_set_with_a_warning(client: Redis) -> None:
    await client.ping()
    with pytest.warns(RuntimeWarning, match="CLIENT SETNAME changes one connection"):
        assert await client.client_setname("mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once a client
        await client.client_setname("mine")
    assert await client.client_getname() == "mine"  # as in stock: the same idle connection of the pool


class Shouting(str):
    """A str that says how it is encoded."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        return b"BS!"


@pytest.mark.parametrize(
    "value", [Shouting("z"), memoryview(b"abcdef")[::2], bytearray(b"x"), 1.5, "ñ", 10**30]
)
async def test_a_value_is_packed_the_same_way_everywhere(client: Redis, redis_url: str, value: Any) -> None:
    calls = [
        client.set("direct", value),
        client.pipeline().set("block", value).execute(),
        client.pipeline(transaction=False).set("pipeline", value).execute(),
        client.pipeline(transaction=False).set("alone", value).execute_command("CLIENT", "ID").execute(),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    if not isinstance(value, memoryview):  # which stock refuses
        async with redis.asyncio.Redis.from_url(redis_url) as stock:
            answers += await asyncio.gather(stock.set("stock", value), return_exceptions=True)
    found = await client.mget("direct", "block", "pipeline", "alone")
    found += [await client.get("stock")] if len(answers) > 4 else []
    refused = {str(answer) for answer in answers if isinstance(answer, DataError)}
    if refused:  # a bytearray, before redis-py 8
        assert len(refused) == 1
        assert all(isinstance(answer, DataError) for answer in answers)
    else:
        assert len(set(found)) == 1
        assert found[0] is not None


async def test_what_redis_py_refuses_is_refused_everywhere(client: Redis) -> None:
    for value in (None, True, object()):
        for call in (client.set("k", value), client.pipeline().set("k", value).execute()):  # type: ignore[arg-type]
            with pytest.raises(DataError, match="Invalid input of type"):
                await call


async def test_the_constructor_is_typed_as_redis_pys() -> None:
    """mypy reads this file too: an error that does not come makes its comment an error."""
    with pytest.raises(TypeError, match="hots"):
        Redis(hots="localhost")  # type: ignore[call-arg]
    assert Redis(port="6379").connection_pool  # type: ignore[arg-type]
    assert Redis(port=6379, decode_responses=True, sharing=None, protocol=3).connection_pool


async def test_the_typed_options_are_those_of_redis_py() -> None:
    stock = inspect.signature(redis.asyncio.Redis.__init__).parameters
    ours = inspect.signature(Redis.__init__).parameters
    assert list(ours) == [*stock, "sharing"]
    assert set(Options.__annotations__) >= set(stock) - {"self"}
    if redis.__version__ >= "8.1":  # older ones have not all of them
        assert set(Options.__annotations__) == set(stock) - {"self"}
    assert get_type_hints(Redis.from_url)["single_connection_client"] is bool
