"""Every experiment by name, who is compared with whom in it; and the words for it, in two languages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bench.measures import CAPACITY, CELL, LADDER, LIVE, PEOPLE, REMEMBERED, TURN, Measure
from bench.measures import DAY as DAY_MEASURES

Language = Literal["es", "en"]

DAY, STATIONARY = "day", "stationary"
VISITS, SAME, CAPACITY_OF, RUNGS, LIVING = "people", "people_same", "capacity", "ladder", "live"
POSTGRESQL, REDIS = "postgresql_turn", "redis_turn"
FAULTS, MEMORY = "faults", "remembered"
LAW, ORACLE, STOCK = "law", "oracle", "stock"
WHOLE_DAY = 0.0
"""The level of the rows about all phases of a day together; phase n of the day has level n, from 1."""
PHASES = (
    "quiet", "I/O", "one hot row", "commits", "a deploy", "CPU", "a co-tenant", "two hot rows", "2 % heavy",
    "I/O again",
)  # fmt: skip
CELLS = ("I/O", "CPU", "commits", "one hot row", "two hot rows", "2 % heavy")
FIRST_SECONDS = 100.0
"""Added to the level of a stationary cell: its first ten seconds. Cell n, later, has level n, from 1."""


def constant(size: int) -> str:
    """The name of an arm whose limit stands."""
    return f"constant_{size}"


@dataclass(frozen=True, slots=True)
class Experiment:
    """`pairs`: control and treatment; empty: the control against every other arm."""

    measures: tuple[Measure, ...]
    control: str = "v1"
    pairs: tuple[tuple[str, str], ...] = ()
    room: str = "chat"
    treatment: str = ""
    """Where it is set, every other arm is a control of this one."""

    def compared(self, arms: Sequence[str]) -> list[tuple[str, str]]:
        """Control and treatment of each comparison that these arms allow."""
        if self.pairs:
            return [pair for pair in self.pairs if set(pair) <= set(arms)]
        if self.treatment:
            return [(arm, self.treatment) for arm in sorted(arms) if arm != self.treatment in arms]
        return [(self.control, arm) for arm in sorted(arms) if arm != self.control in arms]


_RIVALS = (("v1", "v1_best"), ("v1", "v2_constants"), ("v1", "v2_whole"), ("v1", "v2"),
           ("v1_best", "v2"), ("v2_constants", "v2"), ("v2_whole", "v2"))  # fmt: skip
_RUNGS = (("v1", "v1_history"), ("v1", "v1_history_one"), ("v1", "v2_constants"), ("v1", "v2"),
          ("v1_history", "v1_history_one"), ("v1_history_one", "v2_constants"), ("v1_history_one", "v2"),
          ("v2_constants", "v2"))  # fmt: skip
EXPERIMENTS: dict[str, Experiment] = {
    VISITS: Experiment(PEOPLE, pairs=_RIVALS),
    CAPACITY_OF: Experiment(CAPACITY, pairs=(*_RIVALS, *_RUNGS[:2])),
    RUNGS: Experiment(LADDER, pairs=_RUNGS),
    LIVING: Experiment(LIVE, pairs=(("v1", "v1_best"), ("v1", "v2"), ("v1_best", "v2"))),
    SAME: Experiment(PEOPLE, pairs=(("v1", "v1_again"), ("v2", "v2_again"))),
    POSTGRESQL: Experiment(
        TURN, pairs=(("v1", "v1_tuned"), ("v1", "v2"), ("v1_tuned", "v2")), room="database"
    ),
    REDIS: Experiment(
        TURN,
        pairs=(
            ("v1", "v1_tuned"),
            ("v1", "pipelines"),
            ("v1", "v2"),
            ("v1_tuned", "v2"),
            ("pipelines", "v2"),
        ),
        room="cache",
    ),
    DAY: Experiment(DAY_MEASURES, treatment=LAW, room="database"),
    STATIONARY: Experiment(CELL, treatment=LAW, room="database"),
    FAULTS: Experiment((), room="faults"),
    MEMORY: Experiment(REMEMBERED),
}

TITLES: dict[str, tuple[str, str]] = {
    DAY: ("un día que cambia, PostgreSQL", "a day that changes, PostgreSQL"),
    STATIONARY: ("trabajo que no cambia, PostgreSQL", "work that does not change, PostgreSQL"),
    VISITS: (
        "personas que vuelven, cada versión a la misma parte de su propia capacidad",
        "people who come back, each version at the same share of its own capacity",
    ),
    SAME: ("el mismo código dos veces: nada debe encontrarse", "the same code twice: nothing may be found"),
    CAPACITY_OF: (
        "capacidad: respuestas por segundo sin pausas",
        "capacity: answers a second without pauses",
    ),
    RUNGS: (
        "aporte de cada mejora, con las mismas personas (80 % de la capacidad de V1)",
        "what each lever adds, with the same people (80 % of V1's capacity)",
    ),
    LIVING: ("conversaciones vivas a la vez", "live conversations at a time"),
    POSTGRESQL: (
        "una interacción con PostgreSQL, 60 clientes simultáneos",
        "what one chat turn asks of PostgreSQL, 60 clients at once",
    ),
    REDIS: (
        "una interacción con Redis, 64 clientes simultáneos",
        "what one chat turn asks of Redis, 64 clients at once",
    ),
    FAULTS: ("fallas: qué se pierde de lo confirmado", "faults: what is lost of what was acknowledged"),
    MEMORY: (
        "un hecho dicho en el primero de cinco intercambios, pesos reales",
        "a fact told in the first of five exchanges, real weights",
    ),
}
ARMS: dict[str, tuple[str, str]] = {
    "v1": ("V1: límites fijos, tres intercambios, sin cola", "V1: fixed limits, three exchanges, no queue"),
    "v1_again": ("V1, otra vez", "V1 again"),
    "v1_tuned": ("V1 con sus constantes ajustadas", "V1 with its constants tuned"),
    "v1_best": (
        "V1 con todas sus constantes ajustadas, también los intercambios que envía y las peticiones en curso",
        "V1 with every constant tuned, exchanges sent and requests in flight included",
    ),
    "v1_history": ("V1 con toda la historia", "V1 with the whole history"),
    "v1_history_one": (
        "V1 con toda la historia y las peticiones en curso de la mejor constante",
        "V1 with the whole history and the best constant in flight",
    ),
    "v2_constants": ("V2 con las mejores constantes, sin adaptar", "V2 with the best constants, no law"),
    "v2_whole": ("V2 que nunca acorta la historia", "V2 that never shortens the history"),
    "v2": ("V2, como se entrega", "V2 as shipped"),
    "v2_again": ("V2, otra vez", "V2 again"),
    "pipelines": ("Redis con pipelines escritos a mano", "Redis with pipelines written by hand"),
    LAW: ("límites dinámicos", "dynamic limits"),
    ORACLE: ("la mejor constante de cada fase", "the best constant of each phase"),
    STOCK: ("el pool de SQLAlchemy, 5+10", "SQLAlchemy's pool, 5+10"),
}
SHORT: dict[str, tuple[str, str]] = {
    "v1": ("V1", "V1"),
    "v1_again": ("V1 otra vez", "V1 again"),
    "v1_tuned": ("V1 ajustada", "V1 tuned"),
    "v1_best": ("V1 ajustada", "V1 tuned"),
    "v1_history": ("V1 + historia", "V1 + history"),
    "v1_history_one": ("V1 + historia y turno", "V1 + history, in flight"),
    "v2_constants": ("V2 constantes", "V2 constants"),
    "v2_whole": ("V2 historia entera", "V2 whole history"),
    "v2": ("V2", "V2"),
    "v2_again": ("V2 otra vez", "V2 again"),
    "pipelines": ("pipelines", "pipelines"),
    LAW: ("dinámico", "dynamic"),
    ORACLE: ("oráculo", "oracle"),
    STOCK: ("SQLAlchemy 5+10", "SQLAlchemy 5+10"),
}
"""The same in as few words as a chart has room for."""
MEASURES: dict[str, tuple[str, str]] = {
    "end to end p50": ("respuesta completa, mediana", "whole answer, median"),
    "end to end p95": ("respuesta completa, p95", "whole answer, p95"),
    "first token p50": ("primera palabra, mediana", "first token, median"),
    "first token p95": ("primera palabra, p95", "first token, p95"),
    "share in time": ("respuestas a tiempo", "answers in time"),
    "answers": ("respuestas por segundo", "answers a second"),
    "cached share": ("parte del prompt que el motor ya conocía", "share of the prompt known to the engine"),
    "latency p50": ("tiempo de una interacción, mediana", "time of a turn, median"),
    "latency p99": ("tiempo de una interacción, p99", "time of a turn, p99"),
    "rate": ("operaciones por segundo", "calls a second"),
    "CPU a turn": ("CPU por interacción", "CPU a turn"),
    "p95": ("p95", "p95"),
    "share of the oracle": ("parte de lo que hace el oráculo", "share of what the oracle does"),
    "right answers": ("respuestas correctas", "right answers"),
}
_LOADED = (VISITS, SAME, RUNGS)
_PHASES_ES = (
    "calma", "E/S", "una fila disputada", "escrituras", "un despliegue", "CPU", "un vecino",
    "dos filas disputadas", "2 % pesadas", "E/S otra vez",
)  # fmt: skip
_WORDS_ES = dict(zip(PHASES, _PHASES_ES, strict=True))


def word(name: str, language: Language = "en", *, short: bool = False) -> str:
    """An arm, a measure or an experiment in words; the name itself where there are none."""
    if name.startswith("constant_"):
        size = name.removeprefix("constant_")
        return f"constante {size}" if language == "es" else f"constant {size}"
    for table in (SHORT, ARMS, MEASURES, TITLES) if short else (ARMS, MEASURES, TITLES):
        if name in table:
            return table[name][language == "en"]
    return name.replace("_", " ")


def scene(name: str, level: float | None = None, language: Language = "en") -> str:
    """An experiment with what its level says: a load, a phase, a cell, a number of conversations."""
    title = word(name, language)
    what = at(name, level, language) if level is not None else ""
    return f"{title}: {what}" if what else title


def at(name: str, level: float, language: Language = "en") -> str:
    """What a level of an experiment says; empty where it says nothing."""
    if name in _LOADED:
        return f"{level:.0%}"
    if name == LIVING:
        return f"{level:.0f}"
    if name == DAY and level == WHOLE_DAY:
        return "todo el día" if language == "es" else "the whole day"
    if name == DAY:
        found = PHASES[round(level) - 1]
    elif name == STATIONARY:
        found = CELLS[round(level % FIRST_SECONDS) - 1]
    else:
        return ""
    said = _WORDS_ES[found] if language == "es" else found
    if name == STATIONARY and level > FIRST_SECONDS:
        said += ", primeros segundos" if language == "es" else ", first seconds"
    return said


def about(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The experiments of a result in plain data."""
    return {
        name: {"es": word(name, "es"), "en": word(name, "en"), "room": EXPERIMENTS[name].room}
        for name in names
        if name in EXPERIMENTS
    }
