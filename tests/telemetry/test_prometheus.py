"""What a scrape of real flows shows."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fluido import Fixed, Limiter
from fluido._metrics import BOUNDS_S, FlowStats, Histogram
from fluido.telemetry.prometheus import FlowCollector

pytestmark = pytest.mark.anyio


class Told:
    """A flow that is only what it tells."""

    def __init__(self, stats: FlowStats) -> None:
        self.told = stats

    def stats(self) -> FlowStats:
        return self.told


def labels(collector: FlowCollector) -> list[str]:
    limit = next(family for family in collector.collect() if family.name == "fluido_limit")
    return [sample.labels["flow"] for sample in limit.samples]


async def test_a_scrape_shows_every_flow() -> None:
    flows = [Limiter(Fixed(3), name="db", max_waiting=1)]
    registry = CollectorRegistry()
    registry.register(FlowCollector(lambda: flows))
    async with flows[0].permit():
        text = generate_latest(registry).decode()
        assert 'fluido_inflight{flow="db",kind="limiter"} 1.0' in text
    flows.append(Limiter(Fixed(5), name="cache", max_waiting=1))
    flows[0].pin(4)
    text = generate_latest(registry).decode()
    assert 'fluido_limit{flow="db",kind="limiter"} 4.0' in text
    assert 'fluido_limit{flow="cache",kind="limiter"} 5.0' in text
    assert 'fluido_completed_total{flow="db",kind="limiter"} 1.0' in text
    assert 'fluido_decisions_total{flow="db",kind="limiter",law="fixed",reason="pinned"} 1.0' in text
    assert 'fluido_service_seconds_count{flow="db",kind="limiter"} 1.0' in text
    assert "quantile" not in text


async def test_durations_are_histograms_that_count_on_the_right_side_of_every_bound() -> None:
    waits = Histogram()
    durations = [bound_s * share for bound_s in BOUNDS_S for share in (0.999, 1.001)]
    for duration_s in durations:
        waits.record(duration_s)
    registry = CollectorRegistry()
    told = Told(FlowStats("db", "pool", waits=waits.buckets()))
    registry.register(FlowCollector(lambda: [told]))
    samples = {
        sample.labels.get("le"): sample.value
        for family in registry.collect()
        if family.name == "fluido_wait_seconds"
        for sample in family.samples
        if sample.name.endswith(("_bucket", "_sum"))
    }
    for bound_s in BOUNDS_S:
        assert samples[str(bound_s)] == sum(duration_s <= bound_s for duration_s in durations), bound_s
    assert samples["+Inf"] == len(durations)
    assert samples[None] == pytest.approx(sum(durations))


async def test_two_flows_of_one_name_are_two_series_for_as_long_as_they_live() -> None:
    first, second, third = (Told(FlowStats("redis", "redis")) for _ in range(3))
    live = [first, second, Told(FlowStats("redis", "pool"))]
    collector = FlowCollector(lambda: live)
    assert labels(collector) == ["redis", "redis-2", "redis"]
    live.reverse()
    assert labels(collector) == ["redis", "redis-2", "redis"]  # the pool, the second, the first
    live.remove(first)
    assert labels(collector) == ["redis", "redis-2"]  # the second keeps its series
    live.append(third)
    assert labels(collector) == ["redis", "redis-2", "redis"]


async def test_a_name_that_a_user_gave_is_not_taken_by_a_number() -> None:
    live = [Told(FlowStats(name, "redis")) for name in ("redis-2", "redis", "redis")]
    collector = FlowCollector(lambda: live)
    assert labels(collector) == ["redis-2", "redis", "redis-3"]
    live[1].told = FlowStats("cache", "redis")
    assert labels(collector) == ["redis-2", "cache", "redis-3"]
    live.append(live[0])
    assert len(set(labels(collector))) == 4
