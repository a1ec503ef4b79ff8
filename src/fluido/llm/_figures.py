"""One engine at one moment, for a person: its slots, what they hold, who waits in which lane."""

from collections.abc import Mapping
from dataclasses import dataclass

from fluido.llm._call import Lane
from fluido.llm.admission import Station

LONGEST = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """One call in the queue. `key` is whose it is, as the caller named it."""

    lane: str
    key: str
    waited_s: float
    cost_s: float


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """One slot: the tokens it is believed to hold, and for how long it has been at work (None: idle)."""

    held_tokens: int
    busy_s: float | None


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """An engine and its queue. `slots_told` is False where the engine does not say how many it has.

    `hits` and `misses` count conversations that were found, or not, in the slot where they were expected;
    `ghosts` calls that left and that the engine still computes. `longest` holds the `LONGEST` oldest waiters.
    """

    name: str
    kind: str
    model: str
    version: str
    up: bool
    reason: str
    slots_told: bool
    slots: tuple[SlotFigures, ...]
    context_tokens: int
    limit: int
    inflight: int
    ghosts: int
    hits: int
    misses: int
    loads: int
    unplanned_loads: int
    waiting: Mapping[str, int]
    longest: tuple[Waiting, ...]


def figures(station: Station, now_s: float) -> EngineFigures:
    """Read one station; `now_s` is a time on its clock. Changes nothing."""
    facts, residency = station.facts, station.residency_stats()
    busy_s = {seat.place.slot: now_s - seat.started_s for seat in station.seats}
    return EngineFigures(
        name=station.name,
        kind=facts.kind if facts else "",
        model=facts.model if facts else station.model,
        version=facts.version if facts else "",
        up=station.health.up,
        reason=station.health.reason,
        slots_told=facts is not None and facts.slots is not None,
        slots=tuple(
            SlotFigures(tokens, busy_s.get(index))
            for index, tokens in enumerate(station.residency.held_tokens())
        ),
        context_tokens=facts.context_tokens if facts else 0,
        limit=station.limit,
        inflight=station.inflight,
        ghosts=residency.ghosts,
        hits=residency.hits,
        misses=residency.misses,
        loads=residency.loads,
        unplanned_loads=residency.unplanned_loads,
        waiting={lane.name.lower(): station.queue.waiting(lane) for lane in Lane},
        longest=tuple(
            Waiting(
                ticket.demand.lane.name.lower(),
                ticket.demand.key,
                now_s - ticket.joined_s,
                ticket.demand.cost_s,
            )
            for ticket in station.queue.longest(LONGEST)
        ),
    )
