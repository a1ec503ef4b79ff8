"""Load balancing over several engines: the one whose first token should come first, in seconds.

The wait for a seat there, and the prefill of what that engine does not hold. So a conversation stays where it
is warm for as long as that is quicker than starting over elsewhere, and a hot engine spills by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fluido.llm._job import Job
from fluido.llm._retry import ATTEMPTS
from fluido.llm.admission import Demand, Station
from fluido.llm.prompt import Prompt

# A first token is late after so many times what it should take, and another engine is asked only where twice
# what it should need is left: what moves begins anew, and the caller's deadline rules.
LATE, SURE = 4.0, 2.0


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and what serving the call there means."""

    station: Station
    demand: Demand
    prompt: Prompt

    @property
    def seconds(self) -> float:
        """Until the first token, predicted."""
        return self.station.predicted_wait_s(self.demand) + self.demand.first_token_s


def choose(choices: Sequence[Choice]) -> Choice:
    """The soonest; of equals the one with the least work, then the first.

    One that refuses what others answer looks idle all the time: it is taken where there is no other.
    """
    if len(choices) == 1:
        return choices[0]
    return min(
        choices,
        key=lambda c: (c.station.health.is_passed_over, c.seconds, c.station.inflight / c.station.limit),
    )


def others(stations: Sequence[Station], job: Job, station: Station) -> Iterator[Station]:
    """The other engines that are up, have the call's model and did not refuse it."""
    return (
        other
        for other in stations
        if other is not station
        and other.health.up
        and other.name not in job.refusals
        and other.missing(job.call.model) is None
    )


def may_move(stations: Sequence[Station], job: Job, choice: Choice, waited_s: float, left_s: float) -> bool:
    """Whether a call whose first token is late should begin anew at an engine that is idle.

    Where that engine's pace is not known yet, it may be as slow as this one.
    """
    if job.asked >= ATTEMPTS or waited_s < LATE * choice.demand.first_token_s:
        return False
    for other in others(stations, job, choice.station):
        if other.name in job.tried or other.inflight or len(other.queue):
            continue
        pace = other.estimate
        needs_s = waited_s if pace.is_a_guess else pace.prefill_s(choice.prompt.tokens)
        if SURE * needs_s <= left_s:
            return True
    return False


def may_flee(stations: Sequence[Station], job: Job, choice: Choice, left_s: float) -> bool:
    """Whether another engine could answer a call in time whose own answers no question."""
    if job.asked >= ATTEMPTS:
        return False
    for other in others(stations, job, choice.station):
        pace = other.estimate
        if other.name in job.tried:
            continue
        first_s = pace.seen_prefill_s(choice.prompt.tokens)
        if pace.is_a_guess or other.predicted_wait_s(choice.demand) + first_s <= left_s:
            return True
    return False
