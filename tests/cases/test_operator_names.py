"""A name for each flow in metrics: two clients or engines of one process are never one series."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fluido.redis import Redis, Sharing
from fluido.sqlalchemy import create_async_engine, pool_of
from fluido.telemetry.prometheus import FlowCollector

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


async def test_clients_of_redis_are_told_apart_by_name_and_without_one_by_number(redis_url: str) -> None:
    clients = [
        Redis.from_url(redis_url, client_name="cache"),
        Redis.from_url(redis_url, sharing=Sharing(name="limits"), client_name="other"),
        Redis.from_url(redis_url),
        Redis.from_url(redis_url, db=1),
    ]
    try:
        registry = CollectorRegistry()
        registry.register(FlowCollector(lambda: clients))
        before = generate_latest(registry).decode()
        for client in clients:
            await client.get("a")
        text = generate_latest(registry).decode()
        for name in ("cache", "limits", "redis", "redis-2"):
            assert f'fluido_admitted_total{{flow="{name}",kind="redis"}} 1.0' in text
            # what is in force does not begin at nothing because nobody has spoken yet
            assert f'fluido_limit{{flow="{name}",kind="redis"}} 16384.0' in before
            assert f'fluido_limit{{flow="{name}",kind="redis"}} 16384.0' in text
    finally:
        for client in clients:
            await client.aclose()


async def test_two_clients_of_one_pool_cannot_give_it_two_names(redis_url: str) -> None:
    first = Redis.from_url(redis_url, sharing=Sharing(name="a"))
    with pytest.raises(ValueError, match="the same name, links"):
        Redis.from_pool(first.connection_pool, sharing=Sharing(name="b"))
    await first.aclose()


async def test_engines_are_named_by_their_pool(postgres_url: str) -> None:
    named = create_async_engine(postgres_url, pool_logging_name="orders")
    engines = [named, create_async_engine(postgres_url), create_async_engine(postgres_url)]
    registry = CollectorRegistry()
    registry.register(FlowCollector(lambda: [pool_of(engine) for engine in engines]))
    text = generate_latest(registry).decode()
    assert all(f'fluido_limit{{flow="{name}"' in text for name in ("orders", "postgresql", "postgresql-2"))
    # an engine that was disposed of has another pool, and goes on as the same series
    await named.dispose()
    await engines[1].dispose()
    text = generate_latest(registry).decode()
    assert text.count('fluido_limit{flow="') == 3
    assert all(f'fluido_limit{{flow="{name}"' in text for name in ("orders", "postgresql", "postgresql-2"))
