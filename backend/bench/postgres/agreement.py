"""Whether the simulator's curve of a workload orders limits as the server that was swept does."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from bench.postgres.record import Measured
from fluido.testing.runner import FOLDER
from fluido.testing.scenario import load

SCENARIOS = {
    "I/O": "real_io",
    "CPU": "real_cpu",
    "commits": "real_commits",
    "one hot row": "real_hot_row",
    "two hot rows": "real_two_hot_rows",
}
# Closer together than this, two limits are equals: a sweep of seconds cannot order them.
TIE = 0.15


def agreement(workload: str, swept: Mapping[int, float]) -> Iterator[Measured]:
    """Both sweeps as shares of their best, and the share of pairs of limits that have the same order."""
    curve = load(FOLDER / f"{SCENARIOS[workload]}.toml").phases[0].curve
    if curve is None:
        raise ValueError(f"{SCENARIOS[workload]} has no curve")
    simulated = {size: curve(size) for size in swept}
    experiment = f"simulator, {workload}"
    for size in swept:
        arm = f"static {size}"
        yield Measured(experiment, arm, "server, of its best", [[swept[size] / max(swept.values())]])
        share = simulated[size] / max(simulated.values())
        yield Measured(experiment, arm, "simulator, of its best", [[share]])
    signs = [(sign(swept[a], swept[b]), sign(simulated[a], simulated[b])) for a, b in combinations(swept, 2)]
    opposed = sum(here * there < 0 for here, there in signs)
    yield Measured(experiment, "pairs of limits", "in opposite order", [[float(opposed)]])
    yield Measured(experiment, "pairs of limits", "of", [[float(len(signs))]])


def sign(first: float, second: float) -> int:
    """Which of two rates is clearly the higher: 1, -1, or 0 for equals."""
    if abs(first - second) <= TIE * max(first, second):
        return 0
    return 1 if first > second else -1
