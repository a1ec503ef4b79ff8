"""Measured values by experiment, arm and metric, and what the report says of them."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.postgres.loops import Block


@dataclass(frozen=True, slots=True)
class Measured:
    """Values of one metric, one list a block; blocks of the arms of one experiment were interleaved."""

    experiment: str
    arm: str
    metric: str
    blocks: Sequence[Sequence[float]]

    @property
    def estimate(self) -> float:
        """The median over blocks of the blocks' means."""
        return statistics.median(float(np.mean(block)) for block in self.blocks)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest block."""
        means = [float(np.mean(block)) for block in self.blocks]
        return min(means), max(means)


def blocks_of(blocks: Sequence[Block]) -> Iterator[tuple[str, list[list[float]]]]:
    """The usual metrics of a loop: waits in ms, calls a second, fairness."""
    for name, q in (("wait p50 ms", 0.5), ("wait p99 ms", 0.99), ("longest wait ms", 1.0)):
        yield name, [[1e3 * float(np.quantile(block.waits, q))] for block in blocks]
    yield "calls/s", [[block.rate] for block in blocks]
    yield "Jain", [[block.fairness] for block in blocks]


def latencies_of(blocks: Sequence[Block]) -> Iterator[tuple[str, list[list[float]]]]:
    """Whole times in ms."""
    yield "mean ms", [[1e3 * float(np.mean(block.totals))] for block in blocks]
    for name, q in (("p50 ms", 0.5), ("p99 ms", 0.99)):
        yield name, [[1e3 * float(np.quantile(block.totals, q))] for block in blocks]
