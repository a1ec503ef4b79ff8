"""A call's claim on an engine: what admission knows of it, and the right it gets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluido.llm._call import Lane
from fluido.llm.admission._residency import Placement, Residency
from fluido.llm.prompt import Prefix
from fluido.sample import Outcome


@dataclass(frozen=True, slots=True)
class Order:
    """What admission needs to know of a call.

    `cost_s` of engine time are expected, of which `first_token_s` until the first token, and `tokens` of KV
    memory for prompt and answer. `weight` is the tenant's share beside other tenants.
    """

    cost_s: float
    first_token_s: float = 0.0
    prefix: Prefix = field(default_factory=Prefix)
    lane: Lane = Lane.INTERACTIVE
    key: str = ""
    tenant: str = ""
    label: str = ""
    tokens: int = 0
    deadline_s: float | None = None
    weight: float = 1.0


@dataclass(slots=True)
class Seat:
    """A right to be in flight, in a slot.

    `outcome` and `units` are what the law is told at the end, `crowded` that the engine had no slot for it at
    once, `shared` that it was in flight beside others, `prefilled` that its first token came, `refused` that
    the engine itself ended it with an error, `unbegun` that it did so without having begun; `leaves` is what
    the slot holds afterwards (None: unknown);
    `area` is the engine's sum of seconds in flight when the call began, `residency` the index by which it was
    placed: the engine may come back with another. `tasks` is what the slots had served when it was sent.
    `heard_s` is when its last piece came (0: none), `pieces` how many, `tokens` how many tokens it had by the
    engine's own count, `before` how many in flight had begun no later when its first piece came.
    """

    order: Order
    place: Placement
    waited_s: float
    started_s: float
    inflight: int
    limit: float
    residency: Residency = field(default_factory=Residency)
    tasks: Mapping[int, int] = field(default_factory=dict)
    leaves: Prefix | None = None
    prefilled: bool = False
    refused: bool = False
    unbegun: bool = False
    crowded: bool = False
    shared: bool = False
    area: float = 0.0
    outcome: Outcome = Outcome.IGNORED
    units: float = 1.0
    heard_s: float = 0.0
    pieces: int = 0
    tokens: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class ResidencyStats:
    """How often a conversation was found where it was expected, and what the loader did."""

    slots: int
    hits: int
    misses: int
    loads: int
    unplanned_loads: int
    ghosts: int
