"""How long a run takes and what it looks at."""

from dataclasses import dataclass, replace
from typing import Literal

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
    SAME_CODE,
    STEP,
)
from bench.workloads import NEW, RETURNING, SINGLE

EngineName = Literal["smollm2", "synthetic", "ollama"]
TURNS = (POSTGRESQL, REDIS)
PARTS = (POSTGRESQL_WAITING, POSTGRESQL_INSERTS, POSTGRESQL_LANES, REDIS_GET, REDIS_SERVICE)


LEARNING = (POSTGRESQL, POSTGRESQL_INSERTS)


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """One workload, at shares of V1's capacity measured before its first block.

    Each round has new processes, conversations that begin anew, `warm_s` seconds that do not count, and then
    one block of every arm at each level: a round is one incarnation of every arm.
    """

    workload: str
    levels: tuple[float, ...]
    rounds: int
    block_s: float
    arms: tuple[str, ...] = ("v1", "v2")
    calibrate_s: float = 9.0
    warm_s: float = 2.0
    name: str = ""

    @property
    def experiment(self) -> str:
        """The name under which its blocks are kept."""
        return self.name or self.workload


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """PostgreSQL and Redis alone: short blocks, each with pools and clients opened for it and used `warm_s`.

    `parts`: experiments and the seconds of their blocks.
    """

    rounds: int
    block_s: float
    warm_s: float = 0.2
    learn_s: float = 0.6
    """Warm-up where a law has a limit or a batch to learn: `LEARNING`."""
    arms: tuple[str, ...] = ("v1", "v2")
    parts: tuple[tuple[str, float], ...] = ()

    def warm_up_s(self, experiment: str) -> float:
        """Seconds that each arm is used before its block."""
        return self.learn_s if experiment in LEARNING and self.warm_s else self.warm_s


@dataclass(frozen=True, slots=True)
class TunePlan:
    """The sweep for V1's constants: each value gets `rounds` blocks."""

    rounds: int
    block_s: float
    chat_block_s: float


@dataclass(frozen=True, slots=True)
class Profile:
    """`budget_s`: no round begins after that, whatever is left; the result says so."""

    name: str
    engine: EngineName
    budget_s: float
    components: ComponentPlan
    chats: tuple[ChatPlan, ...]
    tune: TunePlan | None = None
    seed: int = 1
    pattern: str = "trace"
    deadline_s: float = 60.0
    """Patience of a user; a request that takes longer has failed."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that must be up, in the order of their first use; levers bring engines of their own."""
        wanted = [arm for chat in self.chats if chat.experiment != LEVERS for arm in chat.arms]
        return tuple(dict.fromkeys(("v1", "v2", *self.components.arms, *wanted)))


QUICK = Profile(
    "quick",
    "synthetic",
    50.0,
    ComponentPlan(rounds=5, block_s=0.2, warm_s=0.1, learn_s=0.2),
    (ChatPlan(RETURNING, (0.9,), rounds=3, block_s=1.2, calibrate_s=3.0, warm_s=0.8),),
)
"""Less than a minute, synthetic weights: shows that everything works, decides nothing."""

BENCH = Profile(
    "bench",
    "synthetic",
    160.0,
    ComponentPlan(rounds=8, block_s=0.3),
    (ChatPlan(RETURNING, (0.9,), rounds=8, block_s=3.0, calibrate_s=6.0),),
    deadline_s=20.0,
)
"""`make bench`: less than three minutes. Synthetic weights give ten times the requests of real ones."""

STANDARD = Profile(
    "standard",
    "synthetic",
    345.0,
    ComponentPlan(
        rounds=5,
        block_s=0.3,
        parts=((POSTGRESQL_WAITING, 0.4), (POSTGRESQL_INSERTS, 0.3), (REDIS_GET, 0.2)),
    ),
    (
        ChatPlan(RETURNING, (0.9,), rounds=9, block_s=1.8, calibrate_s=5.0, warm_s=1.0),
        ChatPlan(SINGLE, (0.9,), rounds=5, block_s=1.2, calibrate_s=3.0, warm_s=0.8),
        ChatPlan(NEW, (0.9,), rounds=5, block_s=1.0, calibrate_s=3.0, warm_s=0.5),
    ),
    deadline_s=30.0,
)
"""Less than six minutes: the three workloads at one load, and the components."""

_LADDER = ("v1", "v1_tuned", "fixed", "v2")

FULL = Profile(
    "full",
    "synthetic",
    2370.0,
    ComponentPlan(
        rounds=11,
        block_s=0.4,
        arms=("v1", "v1_tuned", "v2"),
        parts=(
            (POSTGRESQL_WAITING, 0.6),
            (POSTGRESQL_INSERTS, 0.5),
            (POSTGRESQL_LANES, 1.2),
            (REDIS_GET, 0.3),
            (REDIS_SERVICE, 0.4),
        ),
    ),
    (
        ChatPlan(
            RETURNING,
            (0.9,),
            rounds=11,
            block_s=2.5,
            arms=("v1", "v1_again", "v2", "v2_again"),
            calibrate_s=10.0,
            warm_s=1.5,
            name=SAME_CODE,
        ),
        ChatPlan(RETURNING, (0.9, 1.2), rounds=11, block_s=3.0, arms=_LADDER, calibrate_s=10.0, warm_s=1.5),
        ChatPlan(RETURNING, (0.5, 0.8, 1.0), rounds=11, block_s=2.5, calibrate_s=10.0, warm_s=1.5),
        ChatPlan(NEW, (0.9,), rounds=11, block_s=2.0, calibrate_s=10.0, warm_s=1.0),
        ChatPlan(SINGLE, (0.9, 1.2), rounds=11, block_s=1.6, calibrate_s=8.0, warm_s=1.0),
        ChatPlan(RETURNING, (0.6,), rounds=3, block_s=14.0, warm_s=1.5, name=STEP),
        ChatPlan(NEW, (1.0,), rounds=8, block_s=2.5, warm_s=1.0, name=FAIRNESS),
        ChatPlan(
            RETURNING,
            (0.9,),
            rounds=8,
            block_s=2.0,
            arms=("v1", "append", "append_pins", "v2"),
            calibrate_s=8.0,
            warm_s=1.0,
            name=LEVERS,
        ),
    ),
    tune=TunePlan(rounds=3, block_s=0.4, chat_block_s=2.0),
)
"""At most forty minutes: every arm, workload and load, the same code twice, a step, a crowd, each lever.

Eleven rounds, because the smallest p-value of a test that swaps the arms of whole rounds is 2 / 2**rounds,
and Holm multiplies it by the size of the family: 35 measures of V2 with returning users need eleven.
"""

PROFILES = {profile.name: profile for profile in (QUICK, BENCH, STANDARD, FULL)}
_OLLAMA_ARMS = ("v1", "naive", "v2")


def scaled(profile: Profile, factor: float) -> Profile:
    """Every part of it, shorter: to see that all of it works. Decides nothing."""
    parts = profile.components
    components = replace(
        parts,
        rounds=_fewer(parts.rounds, factor),
        warm_s=parts.warm_s * factor,
        learn_s=parts.learn_s * factor,
        block_s=max(0.1, parts.block_s * factor),
        parts=tuple((name, max(0.2, block_s * factor)) for name, block_s in parts.parts),
    )
    chats = tuple(
        replace(
            chat,
            rounds=_fewer(chat.rounds, factor),
            block_s=max(0.8, chat.block_s * factor),
            calibrate_s=max(1.5, chat.calibrate_s * factor),
            warm_s=chat.warm_s * factor,
        )
        for chat in profile.chats
    )
    tune = profile.tune and TunePlan(1, 0.1, 0.5)
    return replace(
        profile, name=f"{profile.name} x {factor:g}", components=components, chats=chats, tune=tune
    )


def on_ollama(profile: Profile) -> Profile:
    """The part of it that a real Ollama with real weights can do in the time: V1, the first V2, V2.

    One engine a server and ten times slower, so one load and longer blocks; a short run has fewer of them
    and decides nothing.
    """
    is_long = profile.budget_s == FULL.budget_s
    kept: dict[str, ChatPlan] = {}
    for chat in profile.chats:
        if not chat.name and chat.workload not in kept:
            arms = _OLLAMA_ARMS if chat.workload == RETURNING else ("v1", "v2")
            kept[chat.workload] = replace(
                chat,
                levels=(0.9,),
                rounds=chat.rounds if is_long else min(6, chat.rounds),
                block_s=2.5 * chat.block_s,
                calibrate_s=max(20.0, 2 * chat.calibrate_s),
                arms=arms,
            )
    components = replace(profile.components, arms=("v1", "v2"))
    return replace(
        profile,
        engine="ollama",
        chats=tuple(kept.values()),
        components=components,
        tune=None,
        deadline_s=60.0,
        budget_s=min(FULL.budget_s, 3 * profile.budget_s),
    )


def on_external(profile: Profile) -> Profile:
    """The part of it that touches nothing of the customer's: V1 and V2 over HTTP, and the two turns."""
    chats = tuple(replace(chat, arms=("v1", "v2")) for chat in profile.chats if not chat.name)
    components = replace(profile.components, arms=("v1", "v2"), parts=())
    return replace(profile, chats=chats, components=components, tune=None)


def _fewer(rounds: int, factor: float) -> int:
    return max(1, round(rounds * factor))
