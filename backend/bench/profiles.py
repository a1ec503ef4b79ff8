"""How long a run takes and what it looks at. A plan that could not decide what it names is refused."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.arms import NEED_SWEEP
from bench.catalogue import CAPACITY_OF, DAY, FAULTS, POSTGRESQL, REDIS, RUNGS, SAME, VISITS
from bench.claims import BY_NAME
from bench.experiment import Experiment
from bench.experiments.database import Day, Stationary
from bench.experiments.faults import Faults
from bench.experiments.people import Capacity, Living, People
from bench.experiments.remembered import Remembered
from bench.experiments.turns import Turns
from bench.stage import EngineName
from bench.statistics import ALPHA, smallest_p
from bench.sweep import Sweep

START_S = 4.0
"""To start one arm with its servers."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`claims`: those of the five that this plan is to decide. `budget_s`: no round begins after that.

    `ValueError` where a claim has no experiment, or so few rounds that even if all of them pointed the same
    way the corrected p-value would not be below 0.05.
    """

    name: str
    engine: EngineName
    budget_s: float
    experiments: tuple[Experiment, ...]
    claims: tuple[str, ...] = ()
    sweep: Sweep | None = None
    seed: int = 1
    deadline_s: float = 60.0
    """Patience of a user; a request that takes longer has failed."""

    def __post_init__(self) -> None:
        asked = [name for name in self.claims if BY_NAME[name].measure]
        for name in self.claims:
            claim = BY_NAME[name]
            mine = [
                one for one in self.experiments if one.name == claim.experiment and _has(one, claim.level)
            ]
            if not mine:
                raise ValueError(f"the plan {self.name} has nothing that could decide the claim {name!r}")
            rounds = max(one.rounds for one in mine)
            least = smallest_p(rounds) * len(asked)
            if claim.measure and least >= ALPHA:
                raise ValueError(
                    f"the plan {self.name} cannot decide the claim {name!r}: with {rounds} rounds the "
                    f"smallest p-value times {len(asked)} claims is {least:.3f}, not below {ALPHA}"
                )

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that must be up, in the order of their first use."""
        wanted = [arm for one in self.experiments for arm in one.processes]
        return tuple(dict.fromkeys(wanted if self.sweep is None else ("v1", *wanted)))

    def only(self, names: tuple[str, ...]) -> "Profile":
        """Some of its experiments, to look at them; capacities that they need are measured. No claims."""
        known = [one.name for one in self.experiments]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"{self.name} has no {unknown[0]!r}; it has {', '.join(dict.fromkeys(known))}")
        loaded = any(isinstance(one, People | Living) and one.name in names for one in self.experiments)
        wanted = {*names, *((CAPACITY_OF,) if loaded else ())}
        kept = tuple(one for one in self.experiments if one.name in wanted)
        sweep = self.sweep if any(arm in NEED_SWEEP for one in kept for arm in one.processes) else None
        return replace(self, experiments=kept, claims=(), sweep=sweep)

    def parts(self) -> list[tuple[str, float]]:
        """Every part in its order and the seconds it is expected to take; the budget cuts the end."""
        found = [(f"start {len(self.arms)} versions", START_S * len(self.arms))] if self.arms else []
        if self.sweep is not None:
            found.append(("the best constants of V1", self.sweep.planned_s()))
        return found + [(one.name, one.rounds * one.round_s()) for one in self.experiments]

    @property
    def planned_s(self) -> float:
        """Seconds the run is expected to take."""
        return sum(seconds for _, seconds in self.parts())

    def document(self) -> dict[str, Any]:
        """Plain data for the result; equal where the plans are."""
        return {
            "name": self.name,
            "engine": self.engine,
            "budget_s": self.budget_s,
            "claims": list(self.claims),
            "sweep": asdict(self.sweep) if self.sweep else None,
            "seed": self.seed,
            "deadline_s": self.deadline_s,
            "experiments": [asdict(one) for one in self.experiments],
        }


def _has(experiment: Experiment, level: float) -> bool:
    return experiment.name in {DAY, FAULTS} or level in experiment.levels


def _turns(rounds: int, block_s: float, *, tuned: bool = False, warm_s: float = 0.6) -> tuple[Turns, Turns]:
    arms = ("v1", "v1_tuned", "v2") if tuned else ("v1", "v2")
    redis = ("v1", "v1_tuned", "pipelines", "v2") if tuned else ("v1", "pipelines", "v2")
    return (
        Turns(POSTGRESQL, arms, rounds, block_s, warm_s),
        Turns(REDIS, redis, rounds, block_s, min(warm_s, 0.2)),
    )


QUICK = Profile(
    "quick",
    "synthetic",
    45.0,
    (
        *_turns(2, 0.2, warm_s=0.2),
        Capacity(("v1", "v2"), rounds=1, block_s=3.0),
        People(VISITS, ("v1", "v2"), (0.8,), rounds=1, block_s=3.5, warm_s=0.5),
    ),
    deadline_s=20.0,
)
"""Less than a minute: shows that everything works, and names no claim, because it could decide none."""

STANDARD = Profile(
    "standard",
    "synthetic",
    470.0,
    (
        *_turns(7, 0.3),
        Capacity(("v1", "v2"), rounds=5, block_s=4.5),
        People(VISITS, ("v1", "v2"), (0.8,), rounds=7, block_s=13.0, warm_s=1.5),
    ),
    claims=("people", "postgresql", "redis"),
    deadline_s=30.0,
)
"""At most eight minutes, and able to decide three of the five claims.

Seven rounds: the smallest p-value of a test that swaps the arms of whole rounds is 2 / 2**rounds, and Holm
multiplies it by three.
"""

FULL = Profile(
    "full",
    "synthetic",
    2950.0,
    (
        *_turns(8, 0.4, tuned=True),
        Capacity(("v1", "v1_best", "v2_constants", "v2"), rounds=5, block_s=4.5),
        People(
            VISITS,
            ("v1", "v2"),
            (0.8,),
            rounds=8,
            block_s=20.0,
            warm_s=1.0,
            seldom=("v1_best", "v2_constants"),
        ),
        Day(rounds=8, law_s=4.0, constant_s=0.5),
        Faults(rounds=1),
        People(
            RUNGS,
            ("v1", "v1_history", "v1_history_one", "v2_constants", "v2_whole", "v2"),
            (0.8,),
            rounds=5,
            block_s=5.5,
            warm_s=1.0,
            of="v1",
        ),
        People(VISITS, ("v1", "v2"), (0.5, 1.0), rounds=5, block_s=6.0, warm_s=1.0),
        Living(("v1", "v2"), rounds=5, block_s=3.0),
        Stationary(rounds=5, cells=("I/O", "one hot row"), first_s=2.0, later_s=1.2, learn_s=5.0),
        People(SAME, ("v1", "v1_again", "v2", "v2_again"), (0.8,), rounds=5, block_s=3.5, warm_s=0.5),
    ),
    claims=("day", "people", "postgresql", "redis", "faults"),
    sweep=Sweep(rounds=2, block_s=0.3, chat_block_s=2.5),
)
"""At most fifty minutes: every version, load and experiment, and all five claims.

What the documents need first comes first: the budget cuts the end.
"""

PROFILES = {profile.name: profile for profile in (QUICK, STANDARD, FULL)}


def on_real_weights(profile: Profile, engine: EngineName) -> Profile:
    """Few cells, counted in requests and not in seconds: real weights need seconds for one."""
    if profile.name == QUICK.name:
        return replace(profile, name=f"quick, {engine}", engine=engine, deadline_s=60.0, budget_s=150.0)
    rounds = 5 if profile.name == STANDARD.name else 7
    return Profile(
        f"{profile.name}, {engine}",
        engine,
        1500.0 if profile.name == STANDARD.name else 2950.0,
        (
            Capacity(("v1", "v2"), rounds=rounds, block_s=40.0, people=40),
            Remembered(rounds=5),
            People(VISITS, ("v1", "v2"), (0.8,), rounds=rounds, block_s=60.0, warm_s=0.0, requests=16),
        ),
        claims=("people",) if rounds >= 7 else (),
        deadline_s=180.0,
        seed=profile.seed,
    )


def on_external(profile: Profile) -> Profile:
    """The part of it that touches nothing of the customer's: V1 and V2 over HTTP, and the two turns."""
    kept: list[Experiment] = []
    for one in profile.experiments:
        if isinstance(one, Capacity | Turns):
            kept.append(replace(one, arms=tuple(arm for arm in one.arms if arm in {"v1", "v2", "pipelines"})))
        elif isinstance(one, People) and one.name == VISITS:
            kept.append(replace(one, seldom=()))
    asked = {one.name for one in kept}
    claims = tuple(name for name in profile.claims if BY_NAME[name].experiment in asked)
    return replace(profile, experiments=tuple(kept), claims=claims, sweep=None)
