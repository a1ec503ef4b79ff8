"""What a cache may hold, and what it counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheBounds:
    """What the CACHE_OPERATION policy decides.

    ttl_s is used when a caller names none; no entry lives longer than max_ttl_s. With max_entries, the
    entries that expire first make room for new ones (each process looks every 64 writes). Larger values
    are not stored. stale_s: how long after its end a value may still be handed out while another is computed;
    0 turns that off. eagerness: 1 is the optimum of XFetch, 0 turns early recomputation off.
    """

    ttl_s: float = 300.0
    max_ttl_s: float = 86_400.0
    max_entries: int | None = 100_000
    max_value_bytes: int = 1 << 20
    stale_s: float = 0.0
    eagerness: float = 1.0
    max_flights: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.ttl_s <= self.max_ttl_s:
            raise ValueError("ttl_s must be positive and at most max_ttl_s")
        if self.max_entries is not None and self.max_entries < 1:
            raise ValueError("max_entries must be positive or None")
        if min(self.max_value_bytes, self.max_flights) < 1 or min(self.stale_s, self.eagerness) < 0:
            raise ValueError("sizes must be positive, stale_s and eagerness not negative")


@dataclass(slots=True)
class CacheStats:
    """Counts since the cache was built.

    stale: handed out after its end while another was computed. early: computed again before its end. joined:
    callers that waited for somebody else's computation. failed: operations that Redis did not answer.
    skipped: operations not sent because Redis had just failed. refused: values too large or not JSON.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    early: int = 0
    joined: int = 0
    computed: int = 0
    stored: int = 0
    failed: int = 0
    skipped: int = 0
    refused: int = 0
    corrupt: int = 0
    trimmed: int = 0
