"""A call on its way through the service, and what was tried for it."""

from dataclasses import dataclass, field

from fluido.llm._call import Call, Kind
from fluido.llm._errors import CallRejected
from fluido.llm.admission import Reservation
from fluido.llm.prompt import Prompt


@dataclass(slots=True)
class Job:
    """A call on its way. `is_patient`: its caller named a deadline, and may be kept waiting until then."""

    call: Call
    kind: Kind
    came_s: float
    is_patient: bool = False
    retries: int = 0
    asked: int = 0
    """How often an engine was given it: one that only waited for an engine that died has cost nobody."""
    tried: set[str] = field(default_factory=set)
    unreached: int = 0
    crowded: int = 0
    busy: int = 0
    deaths: int = 0
    """How often an engine died with it in hand."""
    in_hand: bool = False
    """Whether an engine had it when it failed last, or was loading for it: it did not only wait in line."""
    is_shared: bool = False
    """Whether others were in the engine's hands when it failed there last."""
    refusals: dict[str, CallRejected] = field(default_factory=dict)
    """What engines said that refused it: none of them is asked again."""
    shortened: int = 0
    sent: Prompt | None = None
    place: Reservation | None = None
    away_s: float = 0.0
    """How long it waited for an engine that was away."""
