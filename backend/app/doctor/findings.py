"""From facts to findings: what will hurt, and how to mend it. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .facts import EngineFacts, Facts, PostgresFacts, RedisFacts, ReplicaFacts

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

    SERIOUS = "grave"
    WARNING = "aviso"
    NOTE = "nota"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know: a stable code, what was seen, and how to mend it (in the user's language)."""

    code: str
    severity: Severity
    where: str
    seen: str
    mend: str


def findings(facts: Facts) -> list[Finding]:
    """Everything worth saying, the worst first."""
    found = [finding for rule in _RULES for finding in rule(facts)]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def _services(facts: Facts) -> Iterator[Finding]:
    for where, reason in facts.failed.items():
        yield Finding(
            "no_responde",
            Severity.SERIOUS,
            where,
            f"No responde: {reason}.",
            "Arráncalo, o corrige su dirección.",
        )
    for replica in facts.replicas:
        for name, reason in replica.away.items():
            yield Finding(
                "dependencia_ausente",
                Severity.SERIOUS,
                replica.url,
                f"Sentinel no puede usar {name}: {reason}.",
                f"Arranca {name}; Sentinel lo vuelve a usar solo, sin reiniciarse.",
            )


def _replicas(facts: Facts) -> Iterator[Finding]:
    for replica in facts.replicas:
        if replica.is_keyless and replica.is_public:
            yield Finding(
                "puerto_sin_clave",
                Severity.SERIOUS,
                replica.url,
                "Escucha fuera de esta máquina y contesta a quien no trae clave: cualquiera lee y gasta.",
                "Pon SENTINEL_API_KEYS, o HOST=127.0.0.1 con un proxy delante.",
            )
        if replica.unplanned_loads:
            yield _reloads(replica)


def _reloads(replica: ReplicaFacts) -> Finding:
    return Finding(
        "recargas_ajenas",
        Severity.SERIOUS,
        replica.url,
        f"{replica.unplanned_loads} respuestas esperaron a que el motor recargara su modelo: otro cliente "
        "lo usa con otras opciones (num_ctx, num_batch, num_gpu).",
        "Da a todos los clientes el mismo num_ctx, o fíjalo en el Modelfile; si no, dales otro Ollama.",
    )


def _postgres(facts: Facts) -> Iterator[Finding]:
    seen = facts.postgres
    if seen is None:
        return
    if seen.version // 10_000 < OLDEST_POSTGRES:
        yield Finding(
            "postgresql_viejo",
            Severity.WARNING,
            "PostgreSQL",
            f"La versión {seen.version // 10_000} ya no recibe correcciones.",
            f"Pasa a la {OLDEST_POSTGRES} o posterior.",
        )
    yield from _pool(seen, facts.replicas)


def _pool(seen: PostgresFacts, replicas: tuple[ReplicaFacts, ...]) -> Iterator[Finding]:
    wanted = sum(replica.pool_ceiling for replica in replicas)
    room = seen.max_connections - seen.reserved - seen.others
    if seen.role_limit is not None:
        room = min(room, seen.role_limit)
    if wanted > room:
        yield Finding(
            "conexiones_de_mas",
            Severity.SERIOUS,
            "PostgreSQL",
            f"Sentinel puede abrir {wanted} conexiones y caben {max(0, room)}: max_connections = "
            f"{seen.max_connections}, menos {seen.reserved} reservadas y {seen.others} de otros"
            + (f", y el rol admite {seen.role_limit}." if seen.role_limit is not None else "."),
            f"Sube max_connections a {wanted + seen.reserved + seen.others} o más, o baja el máximo del pool "
            "o el número de réplicas.",
        )


def _redis(facts: Facts) -> Iterator[Finding]:
    seen = facts.redis
    if seen is None:
        return
    if _version(seen.version) < OLDEST_REDIS:
        yield Finding(
            "redis_viejo",
            Severity.NOTE,
            "Redis",
            f"La versión {seen.version} ya no recibe correcciones; funciona.",
            f"Pasa a la {'.'.join(map(str, OLDEST_REDIS))} o posterior.",
        )
    yield from _memory(seen)
    if seen.ping_ms_max >= STUCK_PING_MS or seen.ping_ms_p50 >= SLOW_PING_MS:
        yield Finding(
            "redis_lento",
            Severity.WARNING,
            "Redis",
            f"Un PING tarda {seen.ping_ms_p50:.1f} ms (mediana) y hasta {seen.ping_ms_max:.0f} ms.",
            "Busca órdenes largas con SLOWLOG GET, instantáneas o disco ocupado; acerca Redis a Sentinel.",
        )
    if seen.is_open:
        yield Finding(
            "redis_sin_clave",
            Severity.SERIOUS,
            "Redis",
            "Escucha fuera de esta máquina y no pide contraseña: cualquiera lee y escribe los historiales.",
            "Pon requirepass, o bind 127.0.0.1 y protected-mode yes.",
        )


def _memory(seen: RedisFacts) -> Iterator[Finding]:
    if not seen.maxmemory:
        yield Finding(
            "redis_sin_tope",
            Severity.WARNING,
            "Redis",
            "No tiene maxmemory: puede crecer hasta que el sistema lo mate.",
            "Pon maxmemory (256mb basta para los historiales) y maxmemory-policy allkeys-lru.",
        )
    elif seen.policy == "noeviction":
        is_full = seen.used >= FULL_SHARE * seen.maxmemory
        yield Finding(
            "redis_no_desaloja",
            Severity.SERIOUS if is_full else Severity.WARNING,
            "Redis",
            f"maxmemory-policy es noeviction y va por el {100 * seen.used / seen.maxmemory:.0f} % de la "
            "memoria: llena, rechaza toda escritura y los historiales se leen de PostgreSQL.",
            "CONFIG SET maxmemory-policy allkeys-lru (y en redis.conf, para el próximo arranque).",
        )
    elif seen.evicted:
        yield Finding(
            "redis_desaloja",
            Severity.NOTE,
            "Redis",
            f"Ha desalojado {seen.evicted} claves por falta de memoria desde que arrancó.",
            "Si los aciertos de la caché bajan, sube maxmemory.",
        )


def _engine(facts: Facts) -> Iterator[Finding]:
    seen = facts.engine
    if seen is None:
        return
    if seen.kind == "ollama" and (0, 0) < _version(seen.version) < OLDEST_OLLAMA:
        yield Finding(
            "ollama_viejo",
            Severity.WARNING,
            seen.name,
            f"Ollama {seen.version} no dice con qué ventana tiene cargado el modelo.",
            f"Pasa a la {'.'.join(map(str, OLDEST_OLLAMA))} o posterior.",
        )
    if seen.stalled_s is not None:
        yield Finding(
            "carga_colgada",
            Severity.SERIOUS,
            seen.name,
            f"Dice que está bien y que {seen.model} está cargado, y en {seen.stalled_s:.0f} s no da un "
            "token: su cargador está colgado (ollama/ollama#14407).",
            "Reinicia Ollama, y da a todos sus clientes el mismo num_ctx para que no vuelva a pasar.",
        )
    if seen.wanted_tokens and seen.resident_tokens and seen.wanted_tokens != seen.resident_tokens:
        yield Finding(
            "otra_ventana",
            Severity.SERIOUS,
            seen.name,
            f"{seen.model} está cargado con una ventana de {seen.resident_tokens} tokens y su configuración "
            f"pide {seen.wanted_tokens}: algún cliente manda otro num_ctx, y cada cambio recarga el modelo.",
            f"Quita num_ctx de ese cliente, o pon {seen.wanted_tokens} en todos.",
        )
    yield from _slots(seen, facts.postgres)


def _slots(seen: EngineFacts, postgres: PostgresFacts | None) -> Iterator[Finding]:
    live = postgres.live_conversations if postgres is not None else None
    if seen.slots is None:
        yield Finding(
            "paralelismo_desconocido",
            Severity.NOTE,
            seen.name,
            "No dice cuántas respuestas da a la vez: Sentinel lo averigua probando, y no sabe qué conserva.",
            "En Ollama, pon OLLAMA_NUM_PARALLEL a lo que quepa en memoria y anótalo en tu despliegue.",
        )
    elif live is not None and live > seen.slots:
        yield Finding(
            "pocas_ranuras",
            Severity.WARNING,
            seen.name,
            f"{live} conversaciones vivas en los últimos cinco minutos y {seen.slots} ranuras: las que "
            "pierden la suya vuelven a calcular su historia con cada mensaje.",
            f"Da al motor hasta {live} ranuras si caben en memoria (llama.cpp: --parallel), u otra réplica.",
        )


def _clocks(facts: Facts) -> Iterator[Finding]:
    if len(facts.clocks) < 2:
        return
    first = min(facts.clocks, key=lambda clock: clock.ahead_s)
    last = max(facts.clocks, key=lambda clock: clock.ahead_s)
    apart_s = last.ahead_s - first.ahead_s - first.error_s - last.error_s
    if apart_s > SKEW_S:
        yield Finding(
            "relojes_distintos",
            Severity.WARNING,
            f"{first.name}, {last.name}",
            f"Sus relojes difieren en {last.ahead_s - first.ahead_s:.1f} s: caducan mal las claves y las "
            "réplicas no prueban sus límites a la vez.",
            "Sincroniza todas las máquinas (chrony o systemd-timesyncd).",
        )


def _unseen(facts: Facts) -> Iterator[Finding]:
    for where, reason in facts.unseen.items():
        yield Finding(
            "no_se_miro", Severity.NOTE, where, f"No se miró: {reason}.", "Da su dirección y repite."
        )


def _version(text: str) -> tuple[int, int]:
    parts = [int(part) if part.isdigit() else 0 for part in text.split(".")[:2]]
    return (parts[0], parts[1]) if len(parts) == 2 else (0, 0)


_RULES: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _services,
    _replicas,
    _postgres,
    _redis,
    _engine,
    _clocks,
    _unseen,
)
