"""Measured values by experiment, arm and metric."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.postgres.loops import Block
from bench.statistics import Interval, Mean, interval

SEED = 6


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of one metric, one list a block; block i of an arm ran next to block i of the other arms."""

    experiment: str
    arm: str
    metric: str
    blocks: Sequence[Sequence[float]]

    @property
    def lower_is_better(self) -> bool:
        """Times and sizes are; rates, shares and fairness are not."""
        return self.metric.endswith((" ms", " us", " MB", " s", " ideal"))

    def summary(self) -> Interval:
        """The mean of all blocks, with its interval."""
        return interval(self.blocks, Mean(), seed=SEED)


def blocks_of(blocks: Sequence[Block]) -> Iterator[tuple[str, list[list[float]]]]:
    """The usual metrics of a loop: waits in ms, calls a second, fairness."""
    for name, q in (("wait p50 ms", 0.5), ("wait p99 ms", 0.99), ("longest wait ms", 1.0)):
        yield name, [[1e3 * float(np.quantile(block.waits, q))] for block in blocks]
    yield "call p99 ms", [[1e3 * float(np.quantile(block.totals, 0.99))] for block in blocks]
    yield "calls/s", [[block.rate] for block in blocks]
    yield "Jain", [[block.fairness] for block in blocks]


def latencies_of(blocks: Sequence[Block]) -> Iterator[tuple[str, list[list[float]]]]:
    """Whole times in ms."""
    yield "mean ms", [[1e3 * float(np.mean(block.totals))] for block in blocks]
    for name, q in (("p50 ms", 0.5), ("p99 ms", 0.99)):
        yield name, [[1e3 * float(np.quantile(block.totals, q))] for block in blocks]
