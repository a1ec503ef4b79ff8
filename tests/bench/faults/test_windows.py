"""What a fault cost is read from the clients' notes."""

import pytest

from bench.faults.people import Try
from bench.faults.windows import Window, cost, median_s

USUAL = [Try(at / 10, 0.1, "") for at in range(100)]


def test_an_outage_is_measured_from_its_beginning() -> None:
    failed = [Try(10.0 + at / 10, 0.05, "503 storage_unavailable") for at in range(20)]
    slow = [Try(12.0 + at / 10, 0.5, "") for at in range(5)]
    back = [Try(13.0 + at / 10, 0.1, "") for at in range(20)]
    window = Window("killed", 10.0, 10.0, 20.0, taken_over_s=11.5)
    found = cost(window, [*USUAL, *failed, *slow, *back], median_s(USUAL))
    assert (found.requests, found.errors) == (46, 20)
    assert found.by_code == {"503 storage_unavailable": 20}
    assert found.first_success_s == pytest.approx(2.5)
    assert found.last_error_s == pytest.approx(1.95)
    assert found.taken_over_s == pytest.approx(1.5)
    assert found.after_takeover_s == pytest.approx(1.0)
    assert found.old_latency_s == pytest.approx(2.2)


def test_a_fault_that_nobody_noticed_costs_nothing() -> None:
    found = cost(Window("unnoticed", 2.0, 2.0, 6.0), USUAL, median_s(USUAL))
    assert (found.errors, found.last_error_s) == (0, None)
    assert found.first_success_s == pytest.approx(0.1)
    assert found.old_latency_s == pytest.approx(0.0)


def test_an_outage_without_an_end_has_none() -> None:
    found = cost(Window("dead", 2.0, 2.0, 6.0), [Try(3.0, 0.1, "x")], 0.1)
    assert found.first_success_s is None
    assert found.old_latency_s is None
    with pytest.raises(ValueError, match="nothing was answered"):
        median_s([Try(3.0, 0.1, "x")])


def test_a_request_that_the_next_fault_ended_is_the_next_ones() -> None:
    victim = Try(5.8, 0.5, "ServerDisconnectedError")
    assert cost(Window("first", 2.0, 2.0, 6.0), [*USUAL, victim], 0.1).errors == 0
    assert cost(Window("next", 6.0, 6.0, 9.0), [*USUAL, victim], 0.1).errors == 1
