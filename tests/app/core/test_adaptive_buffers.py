"""The customer's names show and drive real flows; nothing of it is a value that nobody reads."""

import json
import math

import pytest

from app.core.adaptive_buffers import POLICY, AdaptiveBufferManager, DataFlowType, DynamicBufferConfig
from fluido import Limiter
from fluido.testing.rivals.aimd import Aimd

pytestmark = pytest.mark.anyio


def limiter(start: float = 8.0) -> Limiter:
    return Limiter(Aimd(start=start, floor=1, ceiling=64), name="database", max_waiting=10)


@pytest.mark.parametrize("kind", list(DataFlowType))
def test_every_kind_of_flow_has_a_policy(kind: DataFlowType) -> None:
    manager = AdaptiveBufferManager()
    assert manager.get_config(kind) == manager.policy(kind) == POLICY[kind]


def test_the_live_limit_is_the_flows_own() -> None:
    manager = AdaptiveBufferManager()
    flow = limiter()
    manager.attach(
        DataFlowType.DATABASE_QUERY, lambda: [flow], lambda: {"pool_max_size": round(flow.stats().value)}
    )
    assert manager.get_config(DataFlowType.DATABASE_QUERY).pool_max_size == 8
    flow.pin(21)
    assert manager.get_config(DataFlowType.DATABASE_QUERY).pool_max_size == 21


def test_a_report_reaches_the_law_of_a_real_flow() -> None:
    manager = AdaptiveBufferManager()
    flow = limiter()
    manager.attach(DataFlowType.DATABASE_QUERY, lambda: [flow])
    before = flow.stats().value
    for _ in range(50):
        manager.report_metrics(DataFlowType.DATABASE_QUERY, latency_ms=5.0, ok=False)
    assert flow.stats().value < before
    assert flow.stats().overloads == 50
    shown = manager.get_buffer_stats()["database_query"]
    assert isinstance(shown, dict)
    assert shown["reported"]["count"] == 50
    assert shown["flows"][0]["decisions"]


@pytest.mark.parametrize("values", [{"latency_ms": -1}, {"latency_ms": math.nan}, {"latency_ms": math.inf}])
def test_a_number_that_is_no_latency_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="latency_ms must be a finite number"):
        AdaptiveBufferManager().report_metrics(DataFlowType.DATABASE_QUERY, **values)


@pytest.mark.parametrize("throughput", [0.0, -3.0, math.nan])
def test_a_throughput_that_is_no_work_is_refused(throughput: float) -> None:
    with pytest.raises(ValueError, match="throughput is the work"):
        AdaptiveBufferManager().report_metrics(
            DataFlowType.LLM_INFERENCE, latency_ms=1.0, throughput=throughput
        )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"pool_min_size": 9, "pool_max_size": 3}, "at most"),
        ({"pool_min_size": 0}, "at least 1"),
        ({"read_timeout_s": math.nan}, "read_timeout_s"),
        ({"batch_size": -1}, "batch_size"),
    ],
)
def test_contradictory_bounds_are_refused(change: dict[str, float], word: str) -> None:
    good = POLICY[DataFlowType.DATABASE_QUERY]
    values = {name: getattr(good, name) for name in good.__slots__} | change
    with pytest.raises(ValueError, match=word):
        DynamicBufferConfig(**values)


def test_what_is_shown_is_json() -> None:
    manager = AdaptiveBufferManager()
    flow = limiter()
    manager.attach(DataFlowType.DATABASE_QUERY, lambda: [flow])
    json.dumps(manager.get_buffer_stats(), allow_nan=False)
