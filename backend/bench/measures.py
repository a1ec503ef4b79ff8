"""What is taken from a block, and in which unit it is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.samples import Block, Outcome
from bench.statistics import P50, P95, P99, Mean, Quantile, Statistic

TTFT_SLO_S, TOTAL_SLO_S = 1.0, 4.0
ROUND_TRIP_S = 50e-6
"""No answer of a server comes sooner, also on the same machine: a stage that took less asked nobody."""
BEYOND = 20
"""Requests that must lie beyond a quantile before it is told: a p95 needs 400 of them, a p50 40."""


@dataclass(frozen=True, slots=True)
class Slo:
    """What users still call good: seconds to the first token and to the last."""

    ttft_s: float = TTFT_SLO_S
    total_s: float = TOTAL_SLO_S


@dataclass(frozen=True, slots=True)
class Measure:
    """What is taken from a block."""

    name: str
    statistic: Statistic
    take: Callable[[Block, Slo], Sequence[float]]
    lower_is_better: bool = True
    unit: str = "ms"
    scale: float = 1e3
    floor: float = 0.0
    """Smaller values count as this one: nothing was waited for, and a ratio would be one of clock noise."""

    @property
    def least_samples(self) -> int:
        """So many each arm must have in all, or the measure is not told."""
        if isinstance(self.statistic, Quantile) and self.statistic.q < 1:
            return round(BEYOND / (1 - self.statistic.q))
        return 1


def latency(name: str, metric: str, statistic: Statistic, *, floor_s: float = 0.0) -> Measure:
    """A quantile of one of the latencies of answered requests."""

    def take(block: Block, _: Slo) -> Sequence[float]:
        return [max(floor_s, value) for value in block.latencies(metric)]

    return Measure(f"{name} {statistic.name}", statistic, take, floor=floor_s)


def figure(name: str, key: str, unit: str, *, lower_is_better: bool = True, scale: float = 1.0) -> Measure:
    """The mean over blocks of a number that each block gave as a whole."""

    def take(block: Block, _: Slo) -> Sequence[float]:
        return [block.figures[key]] if key in block.figures else []

    return Measure(name, Mean(), take, lower_is_better, unit, scale)


def _in_time(block: Block, slo: Slo) -> Sequence[float]:
    if not block.samples:
        return []
    return [block.share_in_time(ttft_s=slo.ttft_s, total_s=slo.total_s)]


def _per_second(block: Block, _: Slo) -> Sequence[float]:
    return [block.count(Outcome.ANSWERED) / block.duration_s] if block.samples else []


E2E_P50, E2E_P95 = latency("end to end", "total_s", P50), latency("end to end", "total_s", P95)
TTFT_P50, TTFT_P95 = latency("first token", "ttft_s", P50), latency("first token", "ttft_s", P95)
IN_TIME = Measure("share in time", Mean(), _in_time, lower_is_better=False, unit="", scale=1.0)
RATE = figure("rate", "per_s", "/s", lower_is_better=False)
PEOPLE = (E2E_P50, E2E_P95, TTFT_P50, TTFT_P95, IN_TIME)
LADDER = (E2E_P50, TTFT_P50, E2E_P95)
CAPACITY = (figure("answers", "per_s", "/s", lower_is_better=False),)
LIVE = (E2E_P50, TTFT_P50, figure("cached share", "cached_share", "", lower_is_better=False))
TURN = (
    latency("latency", "total_s", P50),
    latency("latency", "total_s", P99),
    Measure("rate", Mean(), _per_second, lower_is_better=False, unit="/s", scale=1.0),
    figure("CPU a turn", "cpu_us", "us"),
)
CELL = (RATE, figure("p95", "p95_s", "ms", scale=1e3))
DAY = (*CELL, figure("share of the oracle", "share", "", lower_is_better=False))
REMEMBERED = (figure("right answers", "right", "", lower_is_better=False),)
