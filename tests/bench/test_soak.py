"""A leak has a slope that is surely above its bound, noise has not."""

import random

import pytest

from bench.soak import Reading, judged, slope


def readings(growth_per_s: float, lasting_s: int = 600) -> list[Reading]:
    source = random.Random(1)
    return [
        Reading(
            at,
            "a",
            100.0 + growth_per_s * at + source.gauss(0, 2),
            50.0 + source.randint(-3, 3),
            9.0,
            400.0 + source.randint(-40, 40),
        )
        for at in range(0, lasting_s, 2)
    ]


def test_noise_does_not_grow() -> None:
    found = judged(readings(0.0))
    assert [one.series for one in found] == ["memory_mib", "descriptors", "threads", "tasks"]
    assert not any(one.grows for one in found)


def test_a_planted_leak_grows() -> None:
    memory = judged(readings(0.05))[0]
    assert memory.grows
    assert memory.bound == pytest.approx(64.0, rel=0.02)
    assert memory.low < 180.0 < memory.high


def test_too_few_readings_are_no_slope() -> None:
    with pytest.raises(ValueError, match="too few"):
        slope("a", "threads", [1.0, 2.0], [1.0, 1.0])


def test_a_short_run_does_not_tell_a_step_from_a_leak_and_a_long_one_does() -> None:
    growth_per_s = 40.0 / 3600
    assert not judged(readings(growth_per_s, 300))[0].grows
    long = judged(readings(growth_per_s, 3600))[0]
    assert long.bound == 20.0
    assert long.grows


def test_a_series_that_never_moves_has_an_interval_of_nothing() -> None:
    threads = judged(readings(0.0))[2]
    assert (threads.low, threads.per_hour, threads.high) == (0.0, 0.0, 0.0)
