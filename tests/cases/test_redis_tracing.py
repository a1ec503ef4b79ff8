"""Tracers wrap redis-py's methods and must see what they see with the stock client.

opentelemetry-python-contrib#1829, sentry-python#1169, newrelic-python-agent#747. The real packages give the
same spans for both clients (opentelemetry-instrumentation-redis 0.66b2, sentry-sdk 2.75, ddtrace 4.16;
instrumented before the import, before the client, under a live client); here wrappers do what those do.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis.asyncio
import redis.asyncio.client
import wrapt
from redis.exceptions import RedisError, ResponseError

from fluido.redis import Redis, Sharing
from fluido.redis._standin import WRAPPING

from .redis_versions import sharing

pytestmark = [pytest.mark.anyio, pytest.mark.servers, sharing]
METHODS = (
    (redis.asyncio.client.Redis, "execute_command"),
    (redis.asyncio.client.Pipeline, "execute"),
    (redis.asyncio.client.Pipeline, "immediate_execute_command"),
)
Spans = list[tuple[Any, ...]]
Wrap = Callable[[pytest.MonkeyPatch, Spans], None]


def described(instance: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What tracers read: the class, where it is connected to, and the commands."""
    assert isinstance(instance, redis.asyncio.Redis)
    settings = instance.connection_pool.connection_kwargs
    stack = [command[0] for command in instance.command_stack] if hasattr(instance, "command_stack") else []
    return (settings["port"], *map(str, args), *map(str, stack))


def like_opentelemetry(patch: pytest.MonkeyPatch, spans: Spans) -> None:
    async def traced(function: Any, instance: Any, args: Any, options: Any) -> Any:
        span = described(instance, args)
        try:
            result = await function(*args, **options)
        except RedisError as error:
            spans.append((*span, type(error).__name__))
            raise
        spans.append((*span, "ok"))
        return result

    for owner, name in METHODS:
        patch.setattr(owner, name, wrapt.FunctionWrapper(vars(owner)[name], traced))


def like_sentry(patch: pytest.MonkeyPatch, spans: Spans) -> None:
    for owner, name in METHODS:
        patch.setattr(owner, name, by_closure(vars(owner)[name], spans))


def by_closure(function: Any, spans: Spans) -> Any:
    @functools.wraps(function)
    async def traced(self: Any, *args: Any, **options: Any) -> Any:
        span = described(self, args)
        try:
            result = await function(self, *args, **options)
        except RedisError as error:
            spans.append((*span, type(error).__name__))
            raise
        spans.append((*span, "ok"))
        return result

    return traced


async def use(client: Any) -> None:
    await client.set("a", 1)
    assert await client.get("a") in {b"1", "1"}
    await asyncio.gather(*[client.get("a") for _ in range(3)])
    assert await client.pipeline().incr("a").get("a").execute() == [2, b"2"]
    assert await client.pipeline(transaction=False).get("a").dbsize().execute() == [b"2", 1]
    await client.execute_command("CLIENT ID")
    assert await client.blpop("none", timeout=1) is None
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await client.lpush("a", 1)
    with pytest.raises(ResponseError, match=r"WRONGTYPE|exception\.args"):  # the words of redis-py 6.4
        await client.pipeline().lpush("a", 1).execute()
    async with client.pipeline() as pipe:
        await pipe.watch("a")
        assert await pipe.get("a") == b"2"
        pipe.multi()
        await pipe.set("a", 3).execute()
    await client.set("large", "x" * 300_000)
    await client.get("large")
    await client.get("large")
    await client.wait(0, 10)


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    yield
    WRAPPING.of_commands()


@pytest.mark.parametrize("wrap", [like_opentelemetry, like_sentry])
@pytest.mark.parametrize("client_first", [True, False])
async def test_the_spans_are_those_of_stock(redis_url: str, wrap: Wrap, client_first: bool) -> None:
    seen: list[Spans] = []
    for make in (redis.asyncio.Redis, Redis):
        spans: Spans = []
        with pytest.MonkeyPatch.context() as patch:
            if client_first:
                client: Any = make.from_url(redis_url)
                await client.ping()
                wrap(patch, spans)
            else:
                wrap(patch, spans)
                client = make.from_url(redis_url)
            await client.delete("a", "large")
            await use(client)
        before = len(spans)
        await client.get("a")  # nobody wraps any more
        assert len(spans) == before > 15
        await client.aclose()
        seen.append(sorted(spans, key=str))
    assert seen[1] == seen[0]
    assert isinstance(client, Redis)
    assert client.counts().shared > 8


async def test_the_fast_path_is_back_when_nobody_wraps_any_more(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        with pytest.MonkeyPatch.context() as patch:
            like_sentry(patch, [])
            await client.get("a")
        await client.get("a")
        assert redis.asyncio.client.Redis.execute_command is WRAPPING.method


async def test_a_span_covers_the_retries(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spans: Spans = []
    like_sentry(monkeypatch, spans)
    admin = redis.asyncio.client.Redis.from_url(redis_url)
    settings = admin.connection_pool.connection_kwargs
    client = Redis(
        port=settings["port"], password=settings["password"], sharing=Sharing(bulk_bytes=1024)
    )  # with redis-py's ten retries
    await client.set("a", 1)
    await admin.client_kill_filter(_type="normal", skipme=True)
    spans.clear()
    assert await asyncio.gather(*[client.get("a") for _ in range(5)]) == [b"1"] * 5
    assert len(spans) == 5
    await client.aclose()
    await admin.aclose()
