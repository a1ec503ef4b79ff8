"""What a profile will do, in its order, and how long each part is expected to take."""

from dataclasses import dataclass

from bench import levers, sweep
from bench.catalogue import (
    FAIRNESS,
    LEVERS,
    POSTGRESQL,
    POSTGRESQL_INSERTS,
    POSTGRESQL_LANES,
    POSTGRESQL_WAITING,
    REDIS,
    REDIS_GET,
    REDIS_SERVICE,
    STEP,
)
from bench.profiles import ChatPlan, ComponentPlan, Profile
from bench.workloads import NEW

START_S = 4.0
SETTLE_S = 0.2
DRAIN_S = 0.8
"""From the end of the arrivals of a block to its last answer."""
TALK_S = 7.0
"""The same for conversations of six turns with time to read between them."""
RESTART_S = 0.6
"""For one arm's process to end and be there again, on a quiet machine with two cores."""
OPEN_S = 0.1
"""To open one arm's pool or client anew."""
_ARMS_OF = {
    POSTGRESQL_WAITING: 3,
    POSTGRESQL_INSERTS: 2,
    POSTGRESQL_LANES: 2,
    REDIS_GET: 4,
    REDIS_SERVICE: 2,
}
_EXTRA_S = {REDIS_SERVICE: 0.7, POSTGRESQL_LANES: 1.0}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the plan."""

    name: str
    planned_s: float


def schedule(profile: Profile) -> list[Part]:
    """Every part in its order. What the machine makes of it may be longer; the budget cuts the end."""
    plan = profile.components
    found = [Part(f"start {len(profile.arms)} arms", START_S * len(profile.arms))]
    if profile.tune is not None:
        found.append(Part("sweep for v1_tuned", sweep.planned_s(profile.tune)))
    turns_s = plan.rounds * sum(turn_round_s(plan, name) for name in (POSTGRESQL, REDIS))
    found.append(Part("one turn of PostgreSQL and of Redis", turns_s))
    for name, block_s in plan.parts:
        planned = plan.rounds * part_round_s(plan, name, block_s) + 1.0
        found.append(Part(name.replace("_", " "), planned))
    seen: set[str] = set()
    for chat in profile.chats:
        levels = ", ".join(f"{level:.0%}" for level in chat.levels)
        name = f"{chat.experiment.replace('_', ' ')} at {levels}: {', '.join(chat.arms)}"
        found.append(Part(name, chat_s(chat, measures=chat.workload not in seen)))
        seen.add(chat.workload)
    return found


def planned_s(profile: Profile) -> float:
    """Seconds the run is expected to take, for the progress bar."""
    return sum(part.planned_s for part in schedule(profile))


def turn_round_s(plan: ComponentPlan, experiment: str) -> float:
    """One round of the turns of PostgreSQL, or of Redis."""
    return len(plan.arms) * _twice(plan.block_s, plan.warm_up_s(experiment))


def part_round_s(plan: ComponentPlan, experiment: str, block_s: float) -> float:
    """One round of a component experiment."""
    extra_s = _EXTRA_S.get(experiment, 0.0)
    return _ARMS_OF[experiment] * _twice(block_s, plan.warm_up_s(experiment), extra_s)


def _twice(block_s: float, warm_s: float, extra_s: float = 0.0) -> float:
    """Open, warm up where that is wanted, measure: of one arm."""
    warm = warm_s + SETTLE_S + extra_s if warm_s else 0.0
    return OPEN_S + warm + block_s + SETTLE_S + extra_s


def round_s(chat: ChatPlan) -> float:
    """One incarnation of every arm: start, warm-up, one block at each level."""
    drain_s = TALK_S if chat.workload == NEW and chat.experiment != FAIRNESS else DRAIN_S
    start_s = OPEN_S if chat.experiment == LEVERS else RESTART_S
    warm_s = chat.warm_s + DRAIN_S + SETTLE_S if chat.warm_s else 0.0
    return len(chat.arms) * (start_s + warm_s + len(chat.levels) * (chat.block_s + drain_s + SETTLE_S))


def chat_s(chat: ChatPlan, *, measures: bool) -> float:
    """All rounds of one plan; `measures` the capacity before and after."""
    found = chat.rounds * round_s(chat)
    if chat.experiment == LEVERS:
        return found + len(chat.arms) * levers.START_S + chat.calibrate_s
    return found + (1.5 * chat.calibrate_s if measures and chat.experiment != STEP else 0.0)
