"""Every number of the policy reaches the object that obeys it, and what is shown is read from there."""

from collections.abc import AsyncIterator
from dataclasses import asdict, replace

import pytest

from app.api.pace import Pace
from app.cache.dynamic_redis import DynamicRedisCache
from app.core.adaptive_buffers import (
    NOT_FED,
    POLICY,
    AdaptiveBufferManager,
    DataFlowType,
    DynamicBufferConfig,
    adaptive_buffer_manager,
)
from app.core.settings import Settings
from app.db.conversations import ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.telemetry import Telemetry
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from app.services.system import SentinelSystem
from fluido.laws._stream_gap import StreamGap
from fluido.llm import EngineFacts

pytestmark = pytest.mark.anyio

NOBODY = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"
NO_REDIS = "redis://127.0.0.1:1"
SETTINGS = Settings(
    database_url=NOBODY, redis_url=NO_REDIS, openai_url="http://127.0.0.1:1", deadline_s=7.0, migrate=False
)


def smaller(kind: DataFlowType) -> DynamicBufferConfig:
    """The policy of a kind with every number that it has made another."""
    values = {name: value for name, value in asdict(POLICY[kind]).items() if value is not None}
    return DynamicBufferConfig(
        **{name: value if value <= 2 else value // 2 for name, value in values.items()}
    )


@pytest.fixture
async def manager() -> AsyncIterator[AdaptiveBufferManager]:
    """The buffers of a system that is open on servers that are not there."""
    buffers = AdaptiveBufferManager({kind: smaller(kind) for kind in DataFlowType})
    policy = buffers.policy(DataFlowType.DATABASE_QUERY)
    db = DynamicPostgreSQLSession(NOBODY, policy=policy)
    sentinel = SentinelFluidoV2(settings=SETTINGS)
    system = SentinelSystem(sentinel, db, DynamicRedisCache(), buffers, redis_url=NO_REDIS, settings=SETTINGS)
    await system.open()
    pace = Pace(law=StreamGap())
    buffers.attach(DataFlowType.NETWORK_PACKET, pace.flows, pace.live)
    yield buffers
    await system.close()


@pytest.mark.parametrize(
    "kind", [DataFlowType.DATABASE_QUERY, DataFlowType.CACHE_OPERATION, DataFlowType.TELEMETRY]
)
async def test_the_live_values_are_the_ones_the_objects_were_built_with(
    manager: AdaptiveBufferManager, kind: DataFlowType
) -> None:
    adapting = {"pool_max_size", "batch_size"}
    live, policy = asdict(manager.get_config(kind)), asdict(manager.policy(kind))
    assert {name: live[name] for name in live if name not in adapting} == {
        name: policy[name] for name in policy if name not in adapting
    }
    for name in adapting:
        assert live[name] is None if policy[name] is None else 1 <= live[name] <= policy[name]


async def test_a_database_obeys_its_policy() -> None:
    policy = smaller(DataFlowType.DATABASE_QUERY)
    db = DynamicPostgreSQLSession(NOBODY, policy=policy)
    limits = db.pool.limits
    assert (limits.min, limits.max, limits.max_waiting) == (2, 25, 1_000)
    assert (db.pool.limiter.law.floor, db.pool.limiter.law.ceiling) == (2, 25)
    assert db.pool.timeout() == db.live()["read_timeout_s"] == 5
    store = ConversationStore(db.engine, policy)
    assert store.writer.stats().ceiling == 10_000
    db.pool.limiter.pin(9)
    # The limit in force follows the pin by one opened connection at a time.
    assert db.pool.gate.wanted == 9
    assert db.live()["pool_max_size"] == db.pool.limiter.stats().value
    db.pool.limiter.pin(1)
    assert replace(policy, **db.live()).pool_max_size == 1
    await store.close()
    await db.close()


async def test_a_cache_obeys_its_policy() -> None:
    cache = DynamicRedisCache()
    cache.obey(smaller(DataFlowType.CACHE_OPERATION))
    await cache.open(NO_REDIS)
    client = cache.client
    assert client is not None
    assert (client.sharing.window, client.sharing.max_waiting) == (8_192, 32_768)
    options = client.connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.5, 0.5)
    assert (cache.bounds.ttl_s, cache.bounds.max_entries) == (1_800, 5_000)
    await cache.close()


async def test_telemetry_and_a_stream_obey_their_policy() -> None:
    db = DynamicPostgreSQLSession(NOBODY)
    telemetry = Telemetry(db.engine, smaller(DataFlowType.TELEMETRY))
    assert telemetry.stats().ceiling == 1_000
    assert telemetry.live()["max_waiting"] == 25_000
    assert telemetry.live()["write_buffer_size"] == 4 * 2**20
    pace = Pace(slow_client_s=3.0, max_piece_chars=100)
    assert pace.live() == {"batch_size": 100, "read_timeout_s": 3.0}
    await telemetry.close()
    await db.close()


async def test_an_engine_obeys_its_policy() -> None:
    sentinel = SentinelFluidoV2(settings=SETTINGS)
    await sentinel.open()
    (station,) = sentinel.dispatcher.stations
    policy = POLICY[DataFlowType.LLM_INFERENCE]
    assert station.queue.max_waiting == policy.max_waiting
    law = station._limit._make(EngineFacts("e", "llamacpp", "m", 500, 0, ""))
    assert law.ceiling == policy.pool_max_size
    live = adaptive_buffer_manager.get_config(DataFlowType.LLM_INFERENCE)
    assert live.read_timeout_s == 7
    assert live.pool_max_size == station.stats().value
    await sentinel.close()


@pytest.mark.parametrize("kind", list(DataFlowType))
async def test_a_report_teaches_a_live_flow_or_says_why_not(
    manager: AdaptiveBufferManager, kind: DataFlowType
) -> None:
    before = {flow.stats().name: flow.stats() for flow in manager.flows(kind)}
    became = manager.report_metrics(kind, latency_ms=20.0, throughput=3.0)
    shown = manager.get_buffer_stats()[kind.value]
    assert isinstance(shown, dict)
    assert shown["reported"]["count"] == 1
    if kind in NOT_FED:
        assert became.fed == ()
        assert became.reason == NOT_FED[kind]
        return
    assert len(became.fed) == 1
    assert became.fed[0] in before


async def test_reports_of_late_pieces_open_the_gap_of_the_stream() -> None:
    now_s = 0.0
    manager = AdaptiveBufferManager(clock=lambda: now_s)
    pace = Pace(law=StreamGap())
    manager.attach(DataFlowType.NETWORK_PACKET, pace.flows, pace.live)
    for _ in range(30):
        now_s += 0.05
        assert manager.report_metrics(DataFlowType.NETWORK_PACKET, latency_ms=30.0).fed == ("stream_gap",)
    assert pace.flows()[0].value == pytest.approx(0.005)


async def test_a_failed_write_reported_halves_the_cap(manager: AdaptiveBufferManager) -> None:
    before = manager.get_config(DataFlowType.TELEMETRY).batch_size
    manager.report_metrics(DataFlowType.TELEMETRY, latency_ms=900.0, throughput=32, ok=False)
    assert before is not None
    assert manager.get_config(DataFlowType.TELEMETRY).batch_size == before // 2
