"""What is taken from a block, and when a quantile has too few requests to be told."""

from bench.measures import E2E_P50, E2E_P95, IN_TIME, ROUND_TRIP_S, TURN, Slo, latency
from bench.statistics import P50

from .builders import block


def test_a_time_below_any_round_trip_counts_as_one() -> None:
    measure = latency("PostgreSQL", "database_s", P50, floor_s=ROUND_TRIP_S)
    assert measure.take(block("people", "v1", 0, seconds=1.0, requests=1), Slo()) == [0.01]
    fast = latency("Redis", "cache_s", P50, floor_s=0.1)
    assert fast.take(block("people", "v1", 0, seconds=1.0, requests=1), Slo()) == [0.1]


def test_a_quantile_needs_twenty_requests_beyond_it() -> None:
    assert [measure.least_samples for measure in (E2E_P50, E2E_P95, TURN[1])] == [40, 400, 2000]
    assert IN_TIME.least_samples == 1


def test_a_block_without_requests_has_no_share_in_time() -> None:
    assert IN_TIME.take(block("people", "v1", 0), Slo()) == []
