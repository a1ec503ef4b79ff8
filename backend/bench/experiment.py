"""What an experiment is to the harness, and what the harness gives it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Protocol

from bench.arms import Constants
from bench.load import Send
from bench.samples import Results, Timeline
from bench.stage import Ground
from bench.traces import Trace
from bench.trial import Stand
from bench.workloads import Gaps, Lengths, Pauses, Population

SETTLE_S = 0.2
"""Seconds that the machine is looked at before each block."""
RESTART_S = 1.6
"""For one arm's process to end, to be there again and to know its people, on two quiet cores."""


@dataclass(slots=True)
class Context:
    """What every experiment of a run shares."""

    ground: Ground
    results: Results
    trace: Trace
    deadline_s: float
    seed: int
    keep: Callable[[Timeline], None]
    """A timeline for the result."""
    number: Callable[[], int]
    """A number that no other population of this run has, also not before it was resumed."""
    pauses: Pauses = field(default_factory=Pauses)

    @property
    def constants(self) -> Constants:
        """What the sweep of this run found."""
        return Constants.of(self.results.configuration.get("tuned", {}))

    def population(self, name: str, count: int, pauses: Pauses | None = None) -> Population:
        """So many people with texts and pauses from the trace."""
        return Population(name, count, Lengths(self.trace), Gaps(self.trace), pauses or self.pauses)

    async def renew(self, arms: Mapping[str, Population]) -> dict[str, Send]:
        """A new process of each arm, which has learned nothing, and the people who talked to it before."""
        found: dict[str, Send] = {}
        for arm, people in arms.items():
            await self.ground.restart(arm, self.constants.environment(arm))
            await self.ground.settle(arm, people.histories())
            found[arm] = self.ground.contestants[arm].sender
        return found


class Experiment(Protocol):
    """A plan: `rounds` incarnations of every arm, at each of `levels`.

    A dataclass: its fields are kept in the result.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...

    @property
    def rounds(self) -> int: ...

    @property
    def levels(self) -> tuple[float, ...]: ...

    @property
    def processes(self) -> tuple[str, ...]:
        """The arms that are processes with servers of their own, which the ground must bring up."""

    def round_s(self) -> float:
        """Seconds that one round is expected to take."""

    def opened(self, context: Context) -> AbstractAsyncContextManager[Stand]:
        """Everything that lasts for all rounds; what it gives brings the arms up for one round."""
