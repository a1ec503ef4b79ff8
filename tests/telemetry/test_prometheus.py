"""What a scrape of real flows shows."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fluido import Fixed, Limiter
from fluido.telemetry.prometheus import FlowCollector

pytestmark = pytest.mark.anyio


async def test_a_scrape_shows_every_flow() -> None:
    flows = [Limiter(Fixed(3), name="db", max_waiting=1)]
    registry = CollectorRegistry()
    registry.register(FlowCollector(lambda: flows))
    async with flows[0].slot():
        text = generate_latest(registry).decode()
        assert 'fluido_inflight{flow="db",kind="limiter"} 1.0' in text
    flows.append(Limiter(Fixed(5), name="cache", max_waiting=1))
    flows[0].pin(4)
    text = generate_latest(registry).decode()
    assert 'fluido_limit{flow="db",kind="limiter"} 4.0' in text
    assert 'fluido_limit{flow="cache",kind="limiter"} 5.0' in text
    assert 'fluido_completed_total{flow="db",kind="limiter"} 1.0' in text
    assert 'fluido_decisions_total{flow="db",kind="limiter",law="fixed",reason="pinned"} 1.0' in text
    assert 'fluido_wait_seconds_quantile{flow="db",kind="limiter",quantile="0.99"} 0.0' in text
