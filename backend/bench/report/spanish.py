"""Numbers and names as a reader in Chile writes them: comma for decimals, point for thousands."""

import math
import re
from collections.abc import Mapping
from typing import Any

NOT_MEASURED = "no medido"

ARMS = {
    "v1": "V1",
    "v1_tuned": "V1 afinado",
    "fixed": "V2 fijo",
    "v2": "V2",
    "v1_again": "V1 otra vez",
    "v2_again": "V2 otra vez",
    "naive": "primer V2",
    "sqlalchemy": "pool de SQLAlchemy",
    "asyncpg": "pool de asyncpg",
    "fluido": "fluido",
    "autocommit": "un commit por fila",
    "group_writer": "GroupWriter",
    "no_lanes": "sin carriles",
    "lanes": "con carriles",
    "redis_py": "redis-py",
    "pipelines": "redis-py, pipelines escritos a mano",
    "glide": "valkey-glide",
    "append": "sólo agregar al prompt",
    "append_pins": "agregar y fijar ranuras",
}
EXPERIMENTS = {
    "returning_users": "usuarios que vuelven",
    "new_conversations": "conversaciones nuevas",
    "single_questions": "preguntas únicas",
    "postgresql_turn": "PostgreSQL, un turno",
    "redis_turn": "Redis, un turno",
    "postgresql_waiting": "PostgreSQL, espera por una conexión",
    "postgresql_inserts": "PostgreSQL, filas sueltas de muchos llamadores",
    "postgresql_lanes": "PostgreSQL, consultas cortas junto a largas",
    "postgresql_step": "PostgreSQL, un escalón de capacidad",
    "redis_get": "Redis, GET de un valor pequeño",
    "redis_service": "Redis, un servicio con lecturas y escrituras",
    "same_code": "el mismo código dos veces (A/A)",
    "fairness": "equidad en una multitud",
    "capacity_step": "un motor que pierde la mitad de su velocidad",
    "llm_levers": "qué palanca hace qué, sólo el motor",
}
WORDS = {
    "first token": "primer token",
    "end to end": "extremo a extremo",
    "latency": "latencia",
    "throughput": "turnos completados",
    "goodput": "respuestas dentro del plazo",
    "PostgreSQL": "tiempo de PostgreSQL por petición",
    "Redis": "tiempo de Redis por petición",
    "longest wait": "espera más larga",
    "wait": "espera",
    "calls": "llamadas",
    "rows": "filas",
    "CPU a call": "CPU por llamada",
    "short query": "consulta corta",
    "fairness (Jain)": "equidad (índice de Jain)",
}
VERDICTS = {"better": "mejor", "worse": "**peor**", "undecided": "indeciso"}
ATTAINED = {
    "met": "cumplido",
    "reached, not shown": "indeciso: alcanzado, sin que el intervalo lo demuestre",
    "missed": "no cumplido",
    "not measured": NOT_MEASURED,
    "too few blocks": "indeciso: pocos bloques",
}
UNITS = {"/s": "por segundo", "us": "µs"}
CLOSED_LOOP = ("fairness",)
"""Scenes whose level is no share of a capacity."""


def grouped(value: float, decimals: int = 0) -> str:
    """12345.6 with one decimal: 12.345,6."""
    text = f"{value:,.{decimals}f}"
    return text.replace(",", " ").replace(".", ",").replace(" ", ".")


def decimals_of(value: float) -> int:
    """Three figures that mean something: 0,84; 58,6; 1.570."""
    size = abs(value)
    return 0 if size >= 100 else 1 if size >= 10 else 2


def number(value: Any, kind: str) -> str:
    """`kind`: value (three figures), ratio (two decimals), share (0.9: 90 %), count, date, words."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOT_MEASURED
    if kind == "words":
        return str(value)
    if kind == "date":
        return date(str(value))
    if kind == "count":
        return grouped(round(float(value)))
    if kind == "share":
        share = float(value) * 100
        return f"{grouped(share, 0 if math.isclose(share, round(share)) else 1)} %"
    if kind == "ratio":
        return grouped(float(value), 2)
    return grouped(float(value), decimals_of(float(value)))


def arm(name: str) -> str:
    return ARMS.get(name, f"`{name}`")


def experiment(name: str) -> str:
    """Names that this table does not know are shown as the file has them."""
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    if name.endswith("_a_a"):
        return f"V1 contra V1 (A/A), {experiment(name.removesuffix('_a_a'))}"
    return f"`{name}`"


def measure(name: str) -> str:
    """`first token p50` is `primer token p50`."""
    for english in sorted(WORDS, key=len, reverse=True):
        if name == english or name.startswith(english + " "):
            return (WORDS[english] + name[len(english) :]).replace(" longest", ", la más larga")
    return f"`{name}`"


def unit(name: str) -> str:
    return UNITS.get(name, name)


def load(row: Mapping[str, Any]) -> str:
    """What was offered: a share of V1's capacity; nothing for scenes in which everybody asks all the time."""
    if row.get("experiment") in CLOSED_LOOP or not row.get("control_output_tokens"):
        return ""
    return f"{number(row['level'], 'share')} de la capacidad de V1"


CONTENDERS = {
    "SQLAlchemy": "pool de SQLAlchemy",
    "SQLAlchemy stream": "stream de SQLAlchemy",
    "asyncpg pool": "pool de asyncpg",
    "autocommit": "un commit por fila",
    "no lanes": "sin carriles",
    "lanes": "con carriles",
    "fluido fixed": "fluido, límite clavado",
    "V1 (5+10)": "V1 (5 + 10)",
    "best static": "el límite fijo que ganó el barrido",
    "fluido from 2": "fluido, desde 2",
    "fluido from 8": "fluido, desde 8",
    "fluido from 64": "fluido, desde 64",
    "not aligned": "la flota sin alinear",
    "best static again": "el límite fijo que ganó el barrido, medido otra vez",
    "redis-py, pool of 20": "redis-py, pool de 20",
    "redis-py, explicit pipelines": "redis-py, pipelines escritos a mano",
}
METRICS = {
    "call p99 ms": "llamada p99",
    "drained after s": "tiempo hasta vaciar la cola",
    "wait p50 ms": "espera p50",
    "wait p99 ms": "espera p99",
    "longest wait ms": "espera más larga",
    "calls/s": "llamadas por segundo",
    "rows/s": "filas por segundo",
    "mean ms": "media",
    "p50 ms": "p50",
    "p99 ms": "p99",
    "p50 us": "p50",
    "peak MB": "memoria máxima",
    "Jain": "equidad (índice de Jain)",
}
SCENES = {
    "burst on hot rows": "ráfaga sobre filas disputadas",
    "light calls beside reports": "llamadas cortas junto a informes",
    "one caller": "un solo llamador",
    "scan, narrow rows": "recorrido, filas angostas",
    "scan, rows of 8 KB": "recorrido, filas de 8 KB",
    "scan, 10 ms away": "recorrido, servidor a 10 ms",
    "limit, I/O": "límite, entrada y salida",
    "limit, CPU": "límite, CPU",
    "limit, commits": "límite, commits",
    "limit, one hot row": "límite, una fila disputada",
    "limit, two hot rows": "límite, dos filas disputadas",
    "co-tenant, CPU, alone": "otro inquilino, CPU, antes",
    "co-tenant, CPU, taken": "otro inquilino, CPU, con la mitad del servidor",
    "co-tenant, CPU, given back": "otro inquilino, CPU, después",
    "co-tenant, two hot rows, alone": "otro inquilino, dos filas disputadas, antes",
    "co-tenant, two hot rows, taken": "otro inquilino, dos filas disputadas, con la mitad del servidor",
    "co-tenant, two hot rows, given back": "otro inquilino, dos filas disputadas, después",
    "fleet of four": "flota de cuatro procesos",
    "GET 64 B, 1 % cancelled": "GET de 64 B, 1 % canceladas",
    "service: 3 GET + 1 SET": "un servicio: 3 GET y 1 SET por petición",
}
_SHAPES = (
    (re.compile(r"waiting (\d+) on (\d+)"), r"espera: \1 tareas, \2 conexiones"),
    (re.compile(r"inserts, (\d+) tasks"), r"inserciones, \1 tareas"),
    (re.compile(r"mixed (.+), (\d+) tasks"), r"80 % GET y 20 % SET de \1, \2 tareas"),
    (re.compile(r"GET (.+), (\d+) tasks"), r"GET de \1, \2 tareas"),
    (re.compile(r"(\d+) ms away, (\d+) tasks"), r"servidor a \1 ms, \2 tareas"),
)


def cell(name: str) -> str:
    """The scene of a component benchmark; unknown ones as the file has them."""
    if name in SCENES:
        return SCENES[name]
    for shape, spanish in _SHAPES:
        if shape.fullmatch(name):
            return shape.sub(spanish, name).replace(" 1 tareas", " 1 tarea")
    return f"`{name}`"


def contender(name: str) -> str:
    """A client or pool of a component benchmark."""
    return CONTENDERS.get(name, name.replace("static ", "límite fijo "))


def sentence(text: str) -> str:
    """With a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def date(stamp: str) -> str:
    """2026-11-22T19:20:44+00:00 as 22-11-2026 19:20 UTC; anything else as it is."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d)(:\d\d)?(\+00:00|Z)", stamp)
    return f"{found[3]}-{found[2]}-{found[1]} {found[4]} UTC" if found else stamp


def metric(name: str) -> str:
    return METRICS.get(name, name)
