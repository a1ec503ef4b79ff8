"""What a profile will do, in its order, and how long each part is expected to take."""

from dataclasses import dataclass

from bench import levers, sweep
from bench.catalogue import (
    FAIRNESS,
    LEVERS,
    POSTGRESQL_INSERTS,
    POSTGRESQL_LANES,
    POSTGRESQL_WAITING,
    REDIS_GET,
    REDIS_SERVICE,
    STEP,
)
from bench.profiles import ChatPlan, Profile
from bench.workloads import NEW

START_S = 6.0
SETTLE_S = 0.2
DRAIN_S = 0.8
"""From the end of the arrivals of a block to its last answer."""
TALK_S = 6.0
"""The same for conversations of six turns with time to read between them."""
PARTS_START_S = 4.0
_ARMS_OF = {
    POSTGRESQL_WAITING: 3,
    POSTGRESQL_INSERTS: 2,
    POSTGRESQL_LANES: 2,
    REDIS_GET: 4,
    REDIS_SERVICE: 2,
}
_EXTRA_S = {REDIS_SERVICE: 0.4, POSTGRESQL_LANES: 1.0}


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
    rounds = plan.rounds + plan.warm_up
    turns_s = 2 * rounds * len(plan.arms) * (plan.block_s + SETTLE_S)
    found.append(Part("one turn of PostgreSQL and of Redis", turns_s))
    for name, block_s in plan.parts:
        found.append(Part(name.replace("_", " "), rounds * part_round_s(name, block_s) + 1.0))
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


def part_round_s(experiment: str, block_s: float) -> float:
    """One round of a component experiment."""
    return _ARMS_OF[experiment] * (block_s + SETTLE_S + _EXTRA_S.get(experiment, 0.0))


def round_s(chat: ChatPlan) -> float:
    """One block of every arm."""
    drain_s = TALK_S if chat.workload == NEW and chat.experiment != FAIRNESS else DRAIN_S
    return len(chat.arms) * (chat.block_s + drain_s + SETTLE_S)


def chat_s(chat: ChatPlan, *, measures: bool) -> float:
    """All levels of one plan; `measures` the capacity before and after."""
    found = len(chat.levels) * (chat.rounds + chat.warm_up) * round_s(chat)
    if chat.experiment == LEVERS:
        return found + len(chat.arms) * levers.START_S + chat.calibrate_s
    return found + (1.5 * chat.calibrate_s if measures and chat.experiment != STEP else 0.0)
