"""Plays scenarios over seeds, on two processes, and holds the figures against the lines."""

import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fluido.testing.factory import LawFactory, fixed_start, named_law
from fluido.testing.figures import Figures, Span, figures
from fluido.testing.scenario import Line, Scenario, load
from fluido.testing.simulation import Simulation
from fluido.testing.trace import Trace

FOLDER = Path(__file__).parent / "scenarios"
DEFAULT_LAW = "fluido.laws:Ladder"
SEEDS = 20


@dataclass(frozen=True, slots=True)
class Played:
    """One scenario, one seed."""

    scenario: Scenario
    seed: int
    figures: Figures
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the table."""

    scenario: str
    figure: str
    value: float
    line: float
    better: str
    share: float
    passed: bool
    holds: bool
    control: bool

    @property
    def miss(self) -> float:
        """By how much the line was missed, as a share of it; 0 when it was passed."""
        if self.passed or not self.line:
            return 0.0
        return abs(self.value - self.line) / abs(self.line)


def scenarios(paths: Sequence[Path] = ()) -> list[Scenario]:
    """Ours, or the given files."""
    return [load(path) for path in (paths or sorted(FOLDER.glob("*.toml")))]


def play(scenario: Scenario, law: str, seed: int, *, short: bool, keep_trace: bool) -> Played:
    """Run one scenario with one seed; a second run where the scenario compares."""
    duration_s = scenario.short_s if short and scenario.short_s else scenario.duration_s
    make_law = named_law(law)
    trace = Simulation(scenario, make_law, seed).run(duration_s)
    other = None
    if scenario.compare:
        rival, factory = _rival(scenario, make_law)
        other = Simulation(rival, factory, seed).run(duration_s)
    found = figures(scenario, trace, duration_s, other)
    return Played(scenario, seed, found, trace if keep_trace else None)


def _rival(scenario: Scenario, make_law: LawFactory) -> tuple[Scenario, LawFactory]:
    if scenario.compare == "start":
        return _without_law(scenario), fixed_start
    if scenario.compare == "calm":
        calm = tuple(replace(phase, poison_work=0.0) for phase in scenario.phases)
        return replace(scenario, phases=calm), make_law
    if scenario.compare == "static":
        best = float(Span(scenario, Trace(), 0, scenario.duration_s).best_limit)
        groups = tuple(replace(g, starts=(best,)) if not g.foreign else g for g in scenario.groups)
        return _without_law(replace(scenario, groups=groups)), fixed_start
    raise ValueError(f"compare wants start, calm or static, not {scenario.compare!r}")


def _without_law(scenario: Scenario) -> Scenario:
    groups = tuple(replace(g, law="") if not g.foreign else g for g in scenario.groups)
    return replace(scenario, groups=groups)


def _task(task: tuple[Scenario, str, int, bool]) -> Played:
    scenario, law, seed, short = task
    return play(scenario, law, seed, short=short, keep_trace=seed == 0)


def play_all(
    wanted: Iterable[Scenario], law: str, *, seeds: int, short: bool, processes: int
) -> Iterator[list[Played]]:
    """Every scenario in turn, with all of its seeds."""
    wanted = list(wanted)
    tasks = [
        (scenario, law, seed, short)
        for scenario in wanted
        for seed in range(min(seeds, scenario.short_seeds) if short else seeds)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.imap(_task, tasks)
        for scenario in wanted:
            count = sum(1 for task in tasks if task[0] is scenario)
            yield [next(results) for _ in range(count)]


def judge(runs: Sequence[Played]) -> list[Verdict]:
    """The lines of one scenario. In a negative control, the named figure must miss its line."""
    scenario = runs[0].scenario
    return [_verdict(scenario, line, runs) for line in scenario.lines]


def _verdict(scenario: Scenario, line: Line, runs: Sequence[Played]) -> Verdict:
    values = sorted(run.figures.get(line.figure, math.nan) for run in runs)
    if line.better == "more":
        values.reverse()
    value = values[max(0, math.ceil(line.share * len(values) - 1e-9) - 1)]
    meets = _meets(value, line.line, line.better)
    control = scenario.control == line.figure
    passed = not meets if control else meets
    return Verdict(
        scenario=scenario.name,
        figure=line.figure,
        value=value,
        line=line.line,
        better=line.better,
        share=line.share,
        passed=passed,
        holds=passed or (line.holds is not None and _meets(value, line.holds, line.better)),
        control=control,
    )


def _meets(value: float, line: float, better: str) -> bool:
    return value >= line if better == "more" else value <= line
