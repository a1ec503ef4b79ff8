"""How many jobs a second a server completes with n of them inside: its whole character, for a limiter."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

LARGEST = 2048


class Curve:
    """Throughput by concurrency, jobs a second for n = 1, 2, 3 ... `LARGEST`."""

    __slots__ = ("rates",)

    def __init__(self, rates: Sequence[float]) -> None:
        if not rates or not all(0 < rate < math.inf for rate in rates):
            raise ValueError("a curve needs finite rates above zero")
        self.rates = list(rates)

    def __call__(self, jobs: int) -> float:
        """Jobs a second with `jobs` inside; flat beyond the largest."""
        return self.rates[min(jobs, len(self.rates)) - 1] if jobs > 0 else 0.0

    @classmethod
    def knee(
        cls, cores: float, service_s: float, *, retrograde: float = 0.0, softness: float = 0.0
    ) -> "Curve":
        """`cores` jobs side by side, each `service_s` long; beyond, throughput falls by `retrograde`.

        X(n) = m / service_s / (1 + retrograde * max(0, n / cores - 1)), where m = min(n, cores) for a sharp
        knee; with `softness` s > 0, m = n / (1 + (n / cores)^(1/s))^s rises ever more slowly around it.
        """
        rates = []
        for jobs in range(1, LARGEST + 1):
            crowd = jobs / cores
            side_by_side = (
                jobs / (1 + crowd ** (1 / softness)) ** softness if softness > 0 else min(jobs, cores)
            )
            rates.append(side_by_side / service_s / (1 + retrograde * max(0.0, crowd - 1)))
        return cls(rates)

    @classmethod
    def through(cls, points: Sequence[Sequence[float]]) -> "Curve":
        """Straight lines between measured (n, jobs a second), both logarithmic; the last slope goes on."""
        if len(points) < 2 or any(a[0] >= b[0] for a, b in pairwise(points)):
            raise ValueError("points need two or more rising numbers of jobs")
        logs = [(math.log(jobs), math.log(rate)) for jobs, rate in points]
        keys = [x for x, _ in logs]
        rates = []
        for jobs in range(1, LARGEST + 1):
            x = math.log(jobs)
            right = min(max(bisect_right(keys, x), 1), len(logs) - 1)
            (x0, y0), (x1, y1) = logs[right - 1], logs[right]
            rates.append(math.exp(y0 + (y1 - y0) * (x - x0) / (x1 - x0)))
        return cls(rates)


def throughput(curve: Curve, delay_s: float, jobs: int) -> tuple[float, float]:
    """Exact mean throughput and response time with `jobs` circulating between the curve and a pure delay.

    Product form of a closed network (a processor-sharing station whose rate depends on its load, and a
    delay): independent of how the work of a job is distributed.
    """
    if delay_s <= 0:
        return curve(jobs), jobs / curve(jobs)
    # p(k), k in the station, is proportional to delay^(jobs-k)/(jobs-k)! * prod 1/X(i); in logarithms.
    weight = [0.0]
    for inside in range(1, jobs + 1):
        step = math.log(jobs - inside + 1) - math.log(delay_s) - math.log(curve(inside))
        weight.append(weight[-1] + step)
    top = max(weight)
    shares = [math.exp(value - top) for value in weight]
    total = sum(shares)
    rate = sum(share * curve(inside) for inside, share in enumerate(shares)) / total
    return rate, jobs / rate


def best_static(curve: Curve, delay_s: float, ceiling: int) -> tuple[int, float, float]:
    """The limit with the highest throughput (the smallest within 0.5 % of it), that rate, and its latency."""
    return _best_static(tuple(curve.rates[:ceiling]), delay_s, ceiling)


@lru_cache(maxsize=64)  # the seeds of a scenario ask the same, and it costs about a second
def _best_static(rates: tuple[float, ...], delay_s: float, ceiling: int) -> tuple[int, float, float]:
    curve = Curve(rates)
    table = [throughput(curve, delay_s, jobs) for jobs in range(1, ceiling + 1)]
    top = max(rate for rate, _ in table)
    for jobs, (rate, latency_s) in enumerate(table, 1):
        if rate >= 0.995 * top:
            return jobs, rate, latency_s
    raise AssertionError("unreachable: the maximum is within 0.5 % of itself")
