"""What is taken from a block, and in which unit it is told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.samples import Block, Outcome
from bench.statistics import LONGEST, P50, P90, P99, Mean, Statistic

TTFT_SLO_S, TOTAL_SLO_S = 1.0, 4.0
ROUND_TRIP_S = 50e-6
"""No answer of a server comes sooner, also on the same machine: a stage that took less asked nobody."""


@dataclass(frozen=True, slots=True)
class Slo:
    """What users still call good: seconds to the first token and to the last."""

    ttft_s: float = TTFT_SLO_S
    total_s: float = TOTAL_SLO_S


@dataclass(frozen=True, slots=True)
class Measure:
    """What is taken from a block. `primary`: part of the family of headline claims."""

    name: str
    statistic: Statistic
    take: Callable[[Block, Slo], Sequence[float]]
    primary: bool = False
    lower_is_better: bool = True
    unit: str = "ms"
    scale: float = 1e3
    floor: float = 0.0
    """Smaller values count as this one: nothing was waited for, and a ratio would be one of clock noise."""


def latency(
    name: str, metric: str, statistic: Statistic, *, primary: bool = False, floor_s: float = 0.0
) -> Measure:
    """A quantile of one of the latencies of answered requests."""

    def take(block: Block, _: Slo) -> Sequence[float]:
        return [max(floor_s, value) for value in block.latencies(metric)]

    return Measure(f"{name} {statistic.name}", statistic, take, primary, floor=floor_s)


def figure(
    name: str, key: str, unit: str, *, primary: bool = False, lower_is_better: bool = True, scale: float = 1.0
) -> Measure:
    """The mean over blocks of a number that each block gave as a whole."""

    def take(block: Block, _: Slo) -> Sequence[float]:
        return [block.figures[key]] if key in block.figures else []

    return Measure(name, Mean(), take, primary, lower_is_better, unit, scale)


def _goodput(block: Block, slo: Slo) -> Sequence[float]:
    return [block.goodput_per_s(ttft_slo_s=slo.ttft_s, total_slo_s=slo.total_s)]


def _per_second(block: Block, _: Slo) -> Sequence[float]:
    return [block.count(Outcome.ANSWERED) / block.duration_s]


def _jain(block: Block, _: Slo) -> Sequence[float]:
    """Jain, Chiu and Hawe 1984: (sum x)^2 / (n sum x^2) of the answers of each user; 1 = all the same."""
    turns: dict[str, int] = {}
    for sample in block.samples:
        turns[sample.user] = turns.get(sample.user, 0) + (sample.outcome is Outcome.ANSWERED)
    squares = len(turns) * sum(count * count for count in turns.values())
    return [sum(turns.values()) ** 2 / squares] if squares else []


PER_SECOND = Measure("throughput", Mean(), _per_second, lower_is_better=False, unit="/s", scale=1.0)
CHAT = (
    latency("first token", "ttft_s", P50, primary=True),
    latency("first token", "ttft_s", P90),
    latency("first token", "ttft_s", P99),
    latency("end to end", "total_s", P50, primary=True),
    latency("end to end", "total_s", P90),
    latency("end to end", "total_s", P99),
    latency("PostgreSQL", "database_s", P50, floor_s=ROUND_TRIP_S),
    latency("Redis", "cache_s", P50, floor_s=ROUND_TRIP_S),
    Measure("goodput", Mean(), _goodput, lower_is_better=False, unit="/s", scale=1.0),
)
TURN = (
    latency("latency", "total_s", P50, primary=True),
    latency("latency", "total_s", P99),
    PER_SECOND,
)
CROWD = (
    latency("end to end", "total_s", LONGEST),
    latency("end to end", "total_s", P50),
    Measure("fairness (Jain)", Mean(), _jain, lower_is_better=False, unit="", scale=1.0),
    PER_SECOND,
)
WAITING = (
    figure("wait p99", "wait_s_p99", "ms", primary=True, scale=1e3),
    figure("longest wait", "wait_s_longest", "ms", scale=1e3),
    figure("fairness (Jain)", "jain", "", lower_is_better=False),
    figure("calls", "per_s", "/s", lower_is_better=False),
)
INSERTS = (
    figure("rows", "per_s", "/s", primary=True, lower_is_better=False),
    figure("latency p50", "total_s_p50", "ms", scale=1e3),
    figure("latency p99", "total_s_p99", "ms", scale=1e3),
)
LANES = (
    figure("short query p99", "total_s_p99", "ms", primary=True, scale=1e3),
    figure("short query p50", "total_s_p50", "ms", scale=1e3),
)
CALLS = (
    figure("calls", "per_s", "/s", primary=True, lower_is_better=False),
    figure("latency p50", "total_s_p50", "ms", scale=1e3),
    figure("latency p99", "total_s_p99", "ms", scale=1e3),
    figure("CPU a call", "cpu_us", "us"),
)
