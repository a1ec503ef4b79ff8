"""What each experiment says, in a sentence or two; one that was not run says so and nothing else."""

import math
from collections.abc import Sequence

from bench.catalogue import CAPACITY_OF, LIVING, MEMORY, POSTGRESQL, REDIS, RUNGS, VISITS
from bench.report import spanish
from bench.report.study import END, FIRST, REALISTIC, TURN, V1, V2, Figure, Study
from bench.summary import Judged

_ASSUMED = (
    "**Qué se supone de V1.** El cliente describió su sistema y no entregó su código. V1 es una "
    "reconstrucción: un servidor asíncrono con los límites de fábrica (5 + 10 conexiones a PostgreSQL, el "
    "pool de redis-py), que envía al modelo los tres últimos intercambios y no limita cuántas peticiones le "
    "manda a la vez. Lo de los tres intercambios y lo de no limitar son supuestos nuestros. Por eso hay un "
    "rival más fuerte, «V1 ajustada»: la misma V1 con todas sus constantes elegidas por un barrido en la "
    "misma corrida, también cuántos intercambios envía"
)
VERDICTS = {
    "better": "demostrado",
    "worse": "demostrado lo contrario",
    "undecided": "no demostrado",
    "not in this run": "esta corrida no la decide",
}


def assumed(study: Study) -> str:
    """What V1 is, before any figure; whether its tuned form was measured."""
    has_best = study.figure(VISITS, END, "v1_best") is not None
    return f"{_ASSUMED}." if has_best else f"{_ASSUMED} ({spanish.ABSENT})."


def absent(what: str) -> str:
    """`**Fallas:** sin medir en esta corrida.`"""
    return f"**{what}:** {spanish.ABSENT}."


def people(study: Study, *, brief: bool = False) -> str:
    """End to end and first token at the realistic load; the same people for both beside it."""
    whole, first = (study.figure(VISITS, measure, level=REALISTIC) for measure in (END, FIRST))
    if whole is None:
        return absent("Personas que vuelven a una conversación")
    more = f"; la primera palabra, {first.told()}" if first is not None else ""
    load = f"cada versión al {spanish.percent(REALISTIC)} de su capacidad"
    if brief:
        return f"**Quien vuelve** ({load}): la respuesta completa, {whole.told()}{more}."
    same = study.figure(RUNGS, END)
    with_same = f" Con las mismas personas para ambas: {same.told()}." if same is not None else ""
    return (
        f"**Personas que vuelven a una conversación,** {load}: la respuesta completa llega {whole.told()}"
        f"{more}.{with_same}"
    )


def rivals(study: Study) -> str:
    """V2 against the strongest opponents: what structure and what the law add."""
    said = []
    for control in ("v1_best", "v2_constants"):
        found = study.figure(VISITS, END, level=REALISTIC, control=control)
        if found is not None:
            said.append(f"contra {spanish.arm(control)}, {found.told()}")
    return f"Respuesta completa de V2: {'; '.join(said)}." if said else ""


def capacity(study: Study, *, brief: bool = False) -> str:
    """How much one machine serves."""
    found = {arm: study.capacity(arm) for arm in (V1, "v1_best", V2)}
    if found[V1] is None or found[V2] is None:
        return absent("Capacidad de cada versión")
    said = [
        f"{spanish.arm(arm)}, {spanish.number(value.estimate)}"
        + ("" if brief else f" ({spanish.between(value.low, value.high, None)})")
        for arm, value in found.items()
        if value is not None
    ]
    ratio = study.figure(CAPACITY_OF, "answers")
    more = f" {_than_v1(ratio)}." if ratio is not None else ""
    of = "respuestas por segundo" if brief else "en respuestas por segundo sin pausas para leer"
    return f"**Capacidad de una máquina,** {of}: {'; '.join(said)}.{more}"


def _than_v1(ratio: Figure) -> str:
    if ratio.kind in {"better", "worse"}:
        return f"V2 atiende {ratio.times} lo que V1"
    return f"Entre ambas, diferencia sin demostrar (razón {ratio.ratio}, {ratio.interval})"


def turns(study: Study, *, brief: bool = False) -> str:
    """PostgreSQL and Redis by themselves."""
    said = []
    for name, crew in ((POSTGRESQL, "PostgreSQL (60 clientes simultáneos)"), (REDIS, "Redis (64)")):
        found = study.figure(name, TURN)
        if found is not None:
            said.append(f"{crew}, {found.told()}")
    if not said:
        return absent("Una interacción de PostgreSQL y de Redis")
    name = "Sin el modelo" if brief else "Lo que una interacción le pide a cada servidor, sin el modelo"
    return f"**{name}:** {'; '.join(said)}."


def shorter(study: Study) -> str:
    """The guard against buying speed by forgetting."""
    share = study.shorter(V2, REALISTIC)
    if not math.isfinite(share):
        return absent("Cuánta conversación recibió el modelo")
    whole = study.figure(VISITS, END, level=REALISTIC, control=V1, treatment="v2_whole")
    guard = f" La variante que nunca envía menos que V1 responde {whole.told()}." if whole is not None else ""
    return (
        f"**Memoria.** V2 envió al modelo menos conversación que V1 en el {spanish.percent(share, 1)} de "
        f"las peticiones, pareadas por persona y por orden.{guard}"
    )


def faults(study: Study) -> str:
    """Counts, not ratios."""
    found = study.summary.faults
    if not found:
        return absent("Fallas provocadas")
    lost, doubled = found["lost"], found["doubled"]
    said = (
        f"**se perdieron {spanish.count(lost)} y se duplicaron {spanish.count(doubled)}**"
        if lost + doubled
        else "no se perdió ni se duplicó ninguno"
    )
    return (
        f"**Fallas provocadas:** {spanish.count(found['faults'])} fallas; de "
        f"{spanish.count(found['acknowledged'])} mensajes confirmados, {said}."
    )


def remembered(study: Study) -> str:
    """A fact told in the first of five exchanges, on real weights."""
    for run in (*study.others, *study.runs):
        for row in run.summary.rows:
            if (row.experiment, row.control, row.treatment) == (MEMORY, V1, V2):
                one, two = spanish.percent(row.control_value), spanish.percent(row.treatment_value)
                return (
                    f"**Recuerdo** ({spanish.engine(run.engine)}): preguntado por un dato dicho cuatro "
                    f"intercambios antes, V1 acierta el {one} y V2 el {two}, en {row.rounds} rondas."
                )
    return absent("Recuerdo de lo conversado, con pesos reales")


def verdict(claim: Judged) -> str:
    return VERDICTS.get(claim.verdict, claim.verdict)


def told_claim(claim: Judged) -> tuple[str, str]:
    """Ratio and interval of a claim; a count has none."""
    if not math.isfinite(claim.ratio):
        return "–", "cuenta" if claim.name == "faults" else "–"
    return spanish.number(claim.ratio), spanish.between(claim.low, claim.high)


def chosen(study: Study) -> list[tuple[str, Figure]]:
    """What one slide can tell of where it helps and where not: short names, whatever came out."""
    wanted = (
        ("Respuesta completa", VISITS, END, V1, REALISTIC),
        ("Primera palabra", VISITS, FIRST, V1, REALISTIC),
        ("Respuesta completa, contra V1 ajustada", VISITS, END, "v1_best", REALISTIC),
        ("Respuesta completa, contra V2 con constantes", VISITS, END, "v2_constants", REALISTIC),
        ("Respuestas por segundo de una máquina", CAPACITY_OF, "answers", V1, None),
        ("8 conversaciones vivas", LIVING, END, V1, 8.0),
        ("512 conversaciones vivas", LIVING, END, V1, 512.0),
        ("PostgreSQL", POSTGRESQL, TURN, V1, None),
        ("Redis", REDIS, TURN, V1, None),
        ("Redis, contra pipelines a mano", REDIS, TURN, "pipelines", None),
    )
    found = []
    for name, experiment, measure, control, level in wanted:
        figure = study.figure(experiment, measure, control=control, level=level)
        if figure is not None:
            found.append((name, figure))
    return found


def most_telling(found: Sequence[Figure], most: int) -> list[Figure]:
    """At most so many: against what there was, medians and the realistic load before the rest."""

    def rank(figure: Figure) -> tuple[bool, bool, bool, int]:
        row = figure.row
        return (
            row.control not in {V1, "stock", "v1_best"},
            "p50" not in row.measure and row.measure not in {"rate", "share of the oracle"},
            row.experiment == VISITS and row.level != REALISTIC,
            figure.at,
        )

    return sorted(sorted(found, key=rank)[:most], key=lambda figure: figure.at)
