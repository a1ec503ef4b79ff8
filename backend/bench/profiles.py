"""How long a run takes and what it looks at."""

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["smollm2", "synthetic"]


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """One workload, at shares of V1's capacity measured at its start."""

    workload: str
    levels: tuple[float, ...]
    rounds: int
    block_s: float
    arms: tuple[str, ...] = ("v1", "v2")
    calibrate_s: float = 9.0
    warm_up: int = 1

    @property
    def experiment(self) -> str:
        """The name under which its blocks are kept; the A/A run has its own."""
        return f"{self.workload}_a_a" if "v1_again" in self.arms else self.workload


@dataclass(frozen=True, slots=True)
class ComponentPlan:
    """PostgreSQL and Redis alone: many short blocks."""

    rounds: int
    block_s: float
    warm_up: int = 2


@dataclass(frozen=True, slots=True)
class Profile:
    """`budget_s`: no round begins after that, whatever is left; the result says so."""

    name: str
    engine: EngineName
    budget_s: float
    components: ComponentPlan
    chats: tuple[ChatPlan, ...]
    seed: int = 1
    pattern: str = "trace"
    deadline_s: float = 60.0
    """Patience of a user; a request that takes longer has failed."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm that must be up, in the order of their first use."""
        return tuple(dict.fromkeys(arm for chat in self.chats for arm in chat.arms))


RETURNING, NEW, SINGLE = "returning_users", "new_conversations", "single_questions"

QUICK = Profile(
    "quick",
    "synthetic",
    40.0,
    ComponentPlan(rounds=5, block_s=0.25, warm_up=1),
    (ChatPlan(RETURNING, (0.9,), rounds=5, block_s=1.2, calibrate_s=3.0),),
)
"""Less than a minute, synthetic weights: shows that everything works, decides little."""

BENCH = Profile(
    "bench",
    "synthetic",
    150.0,
    ComponentPlan(rounds=12, block_s=0.3),
    (ChatPlan(RETURNING, (0.9,), rounds=9, block_s=5.0, calibrate_s=6.0),),
    deadline_s=20.0,
)
"""`make bench`: less than three minutes. Synthetic weights give ten times the requests of real ones."""

STANDARD = Profile(
    "standard",
    "synthetic",
    290.0,
    ComponentPlan(rounds=12, block_s=0.3),
    (
        ChatPlan(RETURNING, (0.9,), rounds=9, block_s=4.5, calibrate_s=6.0),
        ChatPlan(SINGLE, (0.9,), rounds=9, block_s=3.0, calibrate_s=5.0),
        ChatPlan(NEW, (0.9,), rounds=9, block_s=3.0, calibrate_s=5.0),
    ),
    deadline_s=30.0,
)
"""About five minutes, the three workloads at one load."""

_ABLATION = ("v1", "fixed", "v2")

FULL = Profile(
    "full",
    "synthetic",
    2400.0,
    ComponentPlan(rounds=12, block_s=1.0),
    (
        ChatPlan(RETURNING, (0.5, 0.9, 1.2), rounds=9, block_s=8.0, arms=_ABLATION, calibrate_s=15.0),
        ChatPlan(NEW, (0.5, 0.9, 1.2), rounds=9, block_s=8.0, calibrate_s=15.0),
        ChatPlan(SINGLE, (0.5, 0.9, 1.2), rounds=9, block_s=8.0, calibrate_s=15.0),
        ChatPlan(RETURNING, (0.9,), rounds=9, block_s=8.0, arms=("v1", "v1_again"), calibrate_s=15.0),
    ),
)
"""About forty minutes: over load, V2 without its adapting, and V1 against itself."""

PROFILES = {profile.name: profile for profile in (QUICK, BENCH, STANDARD, FULL)}
