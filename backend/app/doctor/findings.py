"""From facts to findings: what will hurt, and how to mend it. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .facts import EngineFacts, Facts, RedisFacts

# Oldest major versions that their makers still mend, November 2026.
OLDEST_POSTGRES = 15
OLDEST_REDIS = (7, 2)
OLDEST_OLLAMA = (0, 9)  # the first whose /api/ps tells the window of a loaded model
SKEW_S = 1.0
FULL_SHARE = 0.8
SLOW_PING_MS = 5.0
STUCK_PING_MS = 100.0


class Severity(StrEnum):
    """A note changes nothing today; the other two are findings."""

    SERIOUS = "serious"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know: a stable code, where (a part or an address), and the values that `texts` puts into
    words.
    """

    code: str
    severity: Severity
    where: str
    values: Mapping[str, object] = field(default_factory=dict)


def findings(facts: Facts) -> list[Finding]:
    """Everything worth saying, the worst first."""
    found = [finding for rule in _RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def _services(facts: Facts) -> Iterator[Finding]:
    for where, reason in facts.failed.items():
        part = where if where in {"postgresql", "redis"} else "engine"
        if where in facts.asked_replicas:
            part = "sentinel"
        yield Finding("no_responde", Severity.SERIOUS, where, {"reason": reason, "part": part})
    for replica in facts.replicas:
        for name in replica.away:
            yield Finding("dependencia_ausente", Severity.SERIOUS, replica.url, {"part": name})


def _replicas(facts: Facts) -> Iterator[Finding]:
    for replica in facts.replicas:
        if replica.is_keyless and replica.is_public:
            yield Finding("puerto_sin_clave", Severity.SERIOUS, replica.url)
        if replica.unplanned_loads:
            values = {"loads": replica.unplanned_loads}
            yield Finding("recargas_ajenas", Severity.SERIOUS, replica.url, values)


def _postgres(facts: Facts) -> Iterator[Finding]:
    seen = facts.postgres
    if seen is None:
        return
    version = seen.version // 10_000
    if version < OLDEST_POSTGRES:
        values: dict[str, object] = {"version": str(version), "oldest": str(OLDEST_POSTGRES)}
        yield Finding("postgresql_viejo", Severity.WARNING, "postgresql", values)
    wanted = sum(replica.pool_ceiling for replica in facts.replicas)
    room = seen.max_connections - seen.reserved - seen.others
    if seen.role_limit is not None:
        room = min(room, seen.role_limit)
    if wanted > room:
        values = {
            "wanted": wanted,
            "room": max(0, room),
            "max_connections": seen.max_connections,
            "reserved": seen.reserved,
            "others": seen.others,
            "role_limit": seen.role_limit,
            "enough": wanted + seen.reserved + seen.others,
        }
        yield Finding("conexiones_de_mas", Severity.SERIOUS, "postgresql", values)


def _redis(facts: Facts) -> Iterator[Finding]:
    seen = facts.redis
    if seen is None:
        return
    if _version(seen.version) < OLDEST_REDIS:
        values: dict[str, object] = {"version": seen.version, "oldest": _dotted(OLDEST_REDIS)}
        yield Finding("redis_viejo", Severity.NOTE, "redis", values)
    yield from _memory(seen)
    if seen.ping_ms_max >= STUCK_PING_MS or seen.ping_ms_p50 >= SLOW_PING_MS:
        values = {"p50": seen.ping_ms_p50, "most": seen.ping_ms_max}
        yield Finding("redis_lento", Severity.WARNING, "redis", values)
    if seen.is_open:
        yield Finding("redis_sin_clave", Severity.SERIOUS, "redis")


def _memory(seen: RedisFacts) -> Iterator[Finding]:
    if not seen.maxmemory:
        yield Finding("redis_sin_tope", Severity.WARNING, "redis")
    elif seen.policy == "noeviction":
        is_full = seen.used >= FULL_SHARE * seen.maxmemory
        severity = Severity.SERIOUS if is_full else Severity.WARNING
        yield Finding("redis_no_desaloja", severity, "redis", {"percent": 100 * seen.used / seen.maxmemory})
    elif seen.evicted:
        yield Finding("redis_desaloja", Severity.NOTE, "redis", {"evicted": seen.evicted})


def _engines(facts: Facts) -> Iterator[Finding]:
    for seen in facts.engines:
        yield from _engine(seen)
    live = facts.postgres.live_conversations if facts.postgres is not None else None
    slots = [seen.slots for seen in facts.engines if seen.slots is not None]
    # Where one does not tell, nobody knows how many there are.
    if slots and len(slots) == len(facts.engines) and live is not None and live > sum(slots):
        names = ", ".join(seen.name for seen in facts.engines)
        yield Finding("pocas_ranuras", Severity.WARNING, names, {"live": live, "slots": sum(slots)})


def _engine(seen: EngineFacts) -> Iterator[Finding]:
    if seen.kind == "ollama" and (0, 0) < _version(seen.version) < OLDEST_OLLAMA:
        values: dict[str, object] = {"version": seen.version, "oldest": _dotted(OLDEST_OLLAMA)}
        yield Finding("ollama_viejo", Severity.WARNING, seen.name, values)
    if seen.stalled_s is not None:
        values = {"model": seen.model, "stalled": seen.stalled_s}
        yield Finding("carga_colgada", Severity.SERIOUS, seen.name, values)
    if seen.wanted_tokens and seen.resident_tokens and seen.wanted_tokens != seen.resident_tokens:
        values = {"model": seen.model, "resident": seen.resident_tokens, "wanted": seen.wanted_tokens}
        yield Finding("otra_ventana", Severity.SERIOUS, seen.name, values)
    if seen.slots is None:
        yield Finding("paralelismo_desconocido", Severity.NOTE, seen.name)


def _clocks(facts: Facts) -> Iterator[Finding]:
    if len(facts.clocks) < 2:
        return
    first = min(facts.clocks, key=lambda clock: clock.ahead_s)
    last = max(facts.clocks, key=lambda clock: clock.ahead_s)
    apart_s = last.ahead_s - first.ahead_s - first.error_s - last.error_s
    if apart_s > SKEW_S:
        values = {"apart": last.ahead_s - first.ahead_s}
        yield Finding("relojes_distintos", Severity.WARNING, f"{first.name}, {last.name}", values)


def _unseen(facts: Facts) -> Iterator[Finding]:
    for part in facts.unseen:
        yield Finding("no_se_miro", Severity.NOTE, part, {"part": part})


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _version(text: str) -> tuple[int, int]:
    parts = [int(part) if part.isdigit() else 0 for part in text.split(".")[:2]]
    return (parts[0], parts[1]) if len(parts) == 2 else (0, 0)


_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _services,
    _replicas,
    _postgres,
    _redis,
    _engines,
    _clocks,
    _unseen,
)
