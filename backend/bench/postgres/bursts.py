"""Arrivals of an open loop."""

import random


def poisson(rate_per_s: float, duration_s: float, *, seed: int) -> list[float]:
    """Arrivals at one rate."""
    generator = random.Random(seed)
    times = [generator.expovariate(rate_per_s)]
    while times[-1] < duration_s:
        times.append(times[-1] + generator.expovariate(rate_per_s))
    return times
