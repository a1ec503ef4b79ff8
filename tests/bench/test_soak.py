"""A leak has a slope that is surely above its bound, noise has not."""

import random

import pytest

from bench.soak import Reading, judged, slope


def readings(growth_per_s: float) -> list[Reading]:
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
        for at in range(0, 600, 2)
    ]


def test_noise_does_not_grow() -> None:
    found = judged(readings(0.0))
    assert [one.series for one in found] == ["memory_mib", "descriptors", "threads", "tasks"]
    assert not any(one.grows for one in found)


def test_a_planted_leak_grows() -> None:
    memory = judged(readings(0.05))[0]
    assert memory.grows
    assert memory.low < 180.0 < memory.high


def test_too_few_readings_are_no_slope() -> None:
    with pytest.raises(ValueError, match="too few"):
        slope("a", "threads", [1.0, 2.0], [1.0, 1.0])
