"""What was seen of the running services. Nothing here was concluded."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something did not answer: a kind that `texts` has words for; `said` are the server's own."""

    kind: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far a server's clock is ahead of ours, and how wrong that may be."""

    name: str
    ahead_s: float
    error_s: float


@dataclass(frozen=True, slots=True)
class PostgresFacts:
    """`reserved` connections are kept for superusers and the like; `others` are open and not Sentinel's.

    `live_conversations` had a message in the last five minutes; None where the schema is not there yet.
    """

    version: int
    max_connections: int
    reserved: int
    others: int
    role_limit: int | None = None
    live_conversations: int | None = None


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """Sizes in bytes, times in ms. `is_open`: listens beyond loopback and asks nobody for a password."""

    version: str
    maxmemory: int
    policy: str
    used: int
    evicted: int
    ping_ms_p50: float
    ping_ms_max: float
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """An engine as it tells. `slots` is None where it does not say; `wanted_tokens` is the window configured
    for `model` and `resident_tokens` the one it is loaded with (0: unknown, or not loaded).

    `stalled_s`: so long a resident model did not give one token, None where it did or was not asked.
    """

    name: str
    kind: str
    version: str
    slots: int | None
    model: str = ""
    wanted_tokens: int = 0
    resident_tokens: int = 0
    stalled_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """One Sentinel. `pool_ceiling` is how many connections it may open, `away` names what it cannot use."""

    url: str
    away: dict[str, str] = field(default_factory=dict)
    pool_ceiling: int = 0
    unplanned_loads: int = 0
    is_keyless: bool = False
    is_public: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that could be seen. `unseen` are the parts whose address is not known, `failed` those that
    should answer: by part (postgresql, redis) or address.
    """

    replicas: tuple[ReplicaFacts, ...] = ()
    postgres: PostgresFacts | None = None
    redis: RedisFacts | None = None
    engines: tuple[EngineFacts, ...] = ()
    clocks: tuple[ClockFacts, ...] = ()
    unseen: tuple[str, ...] = ()
    asked_replicas: tuple[str, ...] = ()
    failed: dict[str, Reason] = field(default_factory=dict)

    @property
    def is_blind(self) -> bool:
        """Whether nothing at all could be looked at."""
        return not self.replicas and not (self.postgres or self.redis or self.engines)
