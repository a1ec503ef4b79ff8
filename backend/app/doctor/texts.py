"""What the doctor says, whole in Spanish and whole in English."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .facts import Reason
from .findings import Finding, Severity

Language = Literal["es", "en"]


class Count(int):
    """A number that takes its noun along: `{n:slot|slots}`."""

    def __format__(self, spec: str) -> str:
        one, bar, many = spec.partition("|")
        return f"{int(self)} {one if self == 1 else many}" if bar else super().__format__(spec)


@dataclass(frozen=True, slots=True)
class Text:
    """A finding in words: its name (in Spanish the code itself), what was seen, and how to mend it."""

    name: str
    seen: str
    mend: str


def language(environment: Mapping[str, str]) -> Language:
    """Spanish where the environment asks for it, as programs read it; else English."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environment.get(name):
            return "es" if environment[name].lower().startswith("es") else "en"
    return "en"


def name_of(lang: Language, finding: Finding) -> str:
    """What the finding is called."""
    return _FINDINGS[lang][finding.code].name


def seen_of(lang: Language, finding: Finding) -> str:
    """What was seen."""
    text = _FINDINGS[lang][finding.code].seen.format(**_values(lang, finding))
    return (
        text
        if finding.code != "conexiones_de_mas" or finding.values["role_limit"] is None
        else (text[:-1] + _ROLE[lang].format(**finding.values))
    )


def mend_of(lang: Language, finding: Finding) -> str:
    """How to mend it."""
    return _FINDINGS[lang][finding.code].mend.format(**_values(lang, finding))


def where_of(lang: Language, where: str) -> str:
    """A part's name, or an address as it is."""
    return PARTS[lang].get(where, where)


def reason_of(lang: Language, reason: Reason) -> str:
    """Why something did not answer. What a server said itself is quoted."""
    return _REASONS[lang][reason.kind].format(said=reason.said)


def _values(lang: Language, finding: Finding) -> dict[str, object]:
    values: dict[str, object] = {
        name: Count(value) if isinstance(value, int) else value for name, value in finding.values.items()
    }
    reason = finding.values.get("reason")
    if isinstance(reason, Reason):
        values["reason"] = reason_of(lang, reason)
    if "part" in values:
        values["part"] = where_of(lang, str(values["part"]))
        values["setting"] = SETTINGS.get(str(finding.values["part"]), "")
    return values


SETTINGS = {
    "postgresql": "DATABASE_URL",
    "redis": "REDIS_URL",
    "engine": "OLLAMA_URL / OPENAI_URL",
    "sentinel": "--replica",
}
PARTS: Mapping[Language, Mapping[str, str]] = {
    "es": {"postgresql": "PostgreSQL", "redis": "Redis", "engine": "motor", "sentinel": "Sentinel"},
    "en": {"postgresql": "PostgreSQL", "redis": "Redis", "engine": "engine", "sentinel": "Sentinel"},
}
SEVERITIES: Mapping[Language, Mapping[Severity, str]] = {
    "es": {Severity.SERIOUS: "GRAVE", Severity.WARNING: "AVISO", Severity.NOTE: "NOTA"},
    "en": {Severity.SERIOUS: "SERIOUS", Severity.WARNING: "WARNING", Severity.NOTE: "NOTE"},
}
FRAME: Mapping[Language, Mapping[str, str]] = {
    "es": {
        "mend": "Remedio: ",
        "blind": "No se pudo mirar nada: da DATABASE_URL, REDIS_URL, OLLAMA_URL o --replica, o arranca "
        "`make run`.",
        "found": "{n:hallazgo|hallazgos}.",
        "healthy": "Todo bien.",
        "partial": "Nada malo en lo que se miró, que no fue todo.",
        "looked": "Se miró: {what}.",
        "unseen": "No se miró: {what}.",
    },
    "en": {
        "mend": "Remedy: ",
        "blind": "Nothing could be looked at: give DATABASE_URL, REDIS_URL, OLLAMA_URL or --replica, or "
        "start `make run`.",
        "found": "{n:finding|findings}.",
        "healthy": "All well.",
        "partial": "Nothing wrong in what was looked at, which was not everything.",
        "looked": "Looked at: {what}.",
        "unseen": "Not looked at: {what}.",
    },
}
_ROLE: Mapping[Language, str] = {
    "es": ", y el rol admite {role_limit}.",
    "en": ", and the role may have {role_limit}.",
}
_REASONS: Mapping[Language, Mapping[str, str]] = {
    "es": {
        "refused": "nadie escucha en esa dirección",
        "unknown_host": "ese nombre de máquina no existe",
        "unreachable": "no hay camino hasta esa máquina",
        "late": "no contestó a tiempo",
        "lost": "cortó la conexión",
        "password": "no acepta ese usuario o esa contraseña",
        "no_database": "esa base de datos no existe",
        "full": "no admite más conexiones",
        "starting": "está arrancando o parando",
        "tls": "la conexión cifrada no se pudo establecer",
        "address": "la dirección no se entiende",
        "other": "contestó «{said}»",
    },
    "en": {
        "refused": "nobody listens at that address",
        "unknown_host": "there is no machine of that name",
        "unreachable": "there is no way to that machine",
        "late": "it did not answer in time",
        "lost": "it cut the connection",
        "password": "it does not take that user or password",
        "no_database": "there is no such database",
        "full": "it takes no more connections",
        "starting": "it is starting or stopping",
        "tls": "the encrypted connection could not be made",
        "address": "the address cannot be read",
        "other": 'it answered "{said}"',
    },
}
_ES = {
    "no_responde": Text("", "No responde: {reason}.", "Arráncalo, o corrige su dirección ({setting})."),
    "dependencia_ausente": Text(
        "",
        "Sentinel no puede usar {part}; su /health/ready dice por qué.",
        "Arranca {part}; Sentinel lo vuelve a usar solo, sin reiniciarse.",
    ),
    "puerto_sin_clave": Text(
        "",
        "Escucha fuera de esta máquina y contesta a quien no trae clave: cualquiera lee y gasta.",
        "Pon SENTINEL_API_KEYS, o HOST=127.0.0.1 con un proxy delante.",
    ),
    "recargas_ajenas": Text(
        "",
        "{loads:respuesta esperó|respuestas esperaron} a que el motor recargara su modelo: otro cliente lo "
        "usa con otras opciones (num_ctx, num_batch, num_gpu).",
        "Da a todos los clientes el mismo num_ctx, o fíjalo en el Modelfile; si no, dales otro Ollama.",
    ),
    "postgresql_viejo": Text(
        "", "La versión {version} ya no recibe correcciones.", "Pasa a la {oldest} o posterior."
    ),
    "conexiones_de_mas": Text(
        "",
        "Sentinel puede abrir {wanted:conexión|conexiones} y caben {room}: max_connections = "
        "{max_connections}, menos {reserved:reservada|reservadas} y {others} de otros.",
        "Sube max_connections a {enough} o más, o baja el máximo del pool o el número de réplicas.",
    ),
    "redis_viejo": Text(
        "", "La versión {version} ya no recibe correcciones; funciona.", "Pasa a la {oldest} o posterior."
    ),
    "redis_lento": Text(
        "",
        "Un PING tarda {p50:.1f} ms (mediana) y hasta {most:.0f} ms.",
        "Busca órdenes largas con SLOWLOG GET, instantáneas o disco ocupado; acerca Redis a Sentinel.",
    ),
    "redis_sin_clave": Text(
        "",
        "Escucha fuera de esta máquina y no pide contraseña: cualquiera lee y escribe los historiales.",
        "Pon requirepass, o bind 127.0.0.1 y protected-mode yes.",
    ),
    "redis_sin_tope": Text(
        "",
        "No tiene maxmemory: puede crecer hasta que el sistema lo mate.",
        "Pon maxmemory (256mb basta para los historiales) y maxmemory-policy allkeys-lru.",
    ),
    "redis_no_desaloja": Text(
        "",
        "maxmemory-policy es noeviction y va por el {percent:.0f} % de la memoria: llena, rechaza toda "
        "escritura y los historiales se leen de PostgreSQL.",
        "CONFIG SET maxmemory-policy allkeys-lru (y en redis.conf, para el próximo arranque).",
    ),
    "redis_desaloja": Text(
        "",
        "Ha desalojado {evicted:clave|claves} por falta de memoria desde que arrancó.",
        "Si los aciertos de la caché bajan, sube maxmemory.",
    ),
    "ollama_viejo": Text(
        "",
        "Ollama {version} no dice con qué ventana tiene cargado el modelo.",
        "Pasa a la {oldest} o posterior.",
    ),
    "carga_colgada": Text(
        "",
        "Dice que está bien y que {model} está cargado, y en {stalled:.0f} s no da un token: su cargador "
        "está colgado (ollama/ollama#14407).",
        "Reinicia Ollama, y da a todos sus clientes el mismo num_ctx para que no vuelva a pasar.",
    ),
    "otra_ventana": Text(
        "",
        "{model} está cargado con una ventana de {resident} tokens y su configuración pide {wanted}: algún "
        "cliente manda otro num_ctx, y cada cambio recarga el modelo.",
        "Quita num_ctx de ese cliente, o pon {wanted} en todos.",
    ),
    "paralelismo_desconocido": Text(
        "",
        "No dice cuántas respuestas da a la vez: Sentinel lo averigua probando, y no sabe qué conserva.",
        "En Ollama, pon OLLAMA_NUM_PARALLEL a lo que quepa en memoria y anótalo en tu despliegue.",
    ),
    "pocas_ranuras": Text(
        "",
        "{live:conversación viva|conversaciones vivas} en los últimos cinco minutos y "
        "{slots:ranura|ranuras}: las que pierden la suya vuelven a calcular su historia con cada mensaje.",
        "Da al motor hasta {live:ranura|ranuras} si caben en memoria (llama.cpp: --parallel), u otro motor.",
    ),
    "relojes_distintos": Text(
        "",
        "Sus relojes difieren en {apart:.1f} s: caducan mal las claves y las réplicas no prueban sus "
        "límites a la vez.",
        "Sincroniza todas las máquinas (chrony o systemd-timesyncd).",
    ),
    "no_se_miro": Text(
        "", "No se miró: no se conoce su dirección.", "Da {setting}, o arranca `make run`, y repite."
    ),
}
_EN = {
    "no_responde": Text(
        "no_answer", "It does not answer: {reason}.", "Start it, or correct its address ({setting})."
    ),
    "dependencia_ausente": Text(
        "dependency_away",
        "Sentinel cannot use {part}; its /health/ready says why.",
        "Start {part}; Sentinel uses it again by itself, without a restart.",
    ),
    "puerto_sin_clave": Text(
        "open_port",
        "It listens beyond this machine and answers callers without a key: anybody reads and spends.",
        "Set SENTINEL_API_KEYS, or HOST=127.0.0.1 with a proxy in front.",
    ),
    "recargas_ajenas": Text(
        "foreign_reloads",
        "{loads:answer|answers} had to wait while the engine loaded its model again: another client uses it "
        "with other options (num_ctx, num_batch, num_gpu).",
        "Give all clients the same num_ctx, or fix it in the Modelfile; else give them another Ollama.",
    ),
    "postgresql_viejo": Text(
        "old_postgresql", "Version {version} is not mended any more.", "Go to {oldest} or newer."
    ),
    "conexiones_de_mas": Text(
        "too_many_connections",
        "Sentinel may open {wanted:connection|connections} and there is room for {room}: max_connections = "
        "{max_connections}, less {reserved} reserved and {others} of others.",
        "Raise max_connections to {enough} or more, or lower the pool's maximum or the number of replicas.",
    ),
    "redis_viejo": Text(
        "old_redis", "Version {version} is not mended any more; it works.", "Go to {oldest} or newer."
    ),
    "redis_lento": Text(
        "slow_redis",
        "A PING takes {p50:.1f} ms (median) and up to {most:.0f} ms.",
        "Look for long commands with SLOWLOG GET, snapshots or a busy disk; bring Redis closer to Sentinel.",
    ),
    "redis_sin_clave": Text(
        "open_redis",
        "It listens beyond this machine and asks for no password: anybody reads and writes the histories.",
        "Set requirepass, or bind 127.0.0.1 and protected-mode yes.",
    ),
    "redis_sin_tope": Text(
        "unbounded_redis",
        "It has no maxmemory: it may grow until the system kills it.",
        "Set maxmemory (256mb is enough for the histories) and maxmemory-policy allkeys-lru.",
    ),
    "redis_no_desaloja": Text(
        "redis_without_eviction",
        "maxmemory-policy is noeviction and {percent:.0f} % of the memory is used: once full, it refuses "
        "every write and histories are read from PostgreSQL.",
        "CONFIG SET maxmemory-policy allkeys-lru (and in redis.conf, for the next start).",
    ),
    "redis_desaloja": Text(
        "redis_evicts",
        "It has evicted {evicted:key|keys} for want of memory since it started.",
        "If the cache is hit less often, raise maxmemory.",
    ),
    "ollama_viejo": Text(
        "old_ollama",
        "Ollama {version} does not tell the window that the model is loaded with.",
        "Go to {oldest} or newer.",
    ),
    "carga_colgada": Text(
        "hung_loader",
        "It says that it is well and that {model} is loaded, and gives no token in {stalled:.0f} s: its "
        "loader hangs (ollama/ollama#14407).",
        "Restart Ollama, and give all its clients the same num_ctx so that it does not happen again.",
    ),
    "otra_ventana": Text(
        "other_window",
        "{model} is loaded with a window of {resident} tokens and is set up for {wanted}: a client sends "
        "another num_ctx, and each change loads the model again.",
        "Take num_ctx out of that client, or set {wanted} in all.",
    ),
    "paralelismo_desconocido": Text(
        "unknown_parallelism",
        "It does not tell how many answers it gives at once: Sentinel finds out by trying, and does not "
        "know what it keeps.",
        "With Ollama, set OLLAMA_NUM_PARALLEL to what fits into memory and note it in your deployment.",
    ),
    "pocas_ranuras": Text(
        "few_slots",
        "{live:live conversation|live conversations} in the last five minutes and {slots:slot|slots}: those "
        "that lose theirs compute their history again with each message.",
        "Give the engine up to {live:slot|slots} if they fit into memory (llama.cpp: --parallel), or "
        "another engine.",
    ),
    "relojes_distintos": Text(
        "clocks_apart",
        "Their clocks differ by {apart:.1f} s: keys expire at the wrong time, and replicas do not try their "
        "limits together.",
        "Synchronise all machines (chrony or systemd-timesyncd).",
    ),
    "no_se_miro": Text(
        "not_looked_at",
        "Not looked at: its address is not known.",
        "Give {setting}, or start `make run`, and repeat.",
    ),
}
_FINDINGS: Mapping[Language, Mapping[str, Text]] = {
    "es": {code: Text(code, text.seen, text.mend) for code, text in _ES.items()},
    "en": _EN,
}
CODES = frozenset(_EN)
