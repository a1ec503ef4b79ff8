"""The customer's table, row by row: every workload and load, never one chosen point."""

import math
from collections.abc import Sequence

from bench.claims import CUSTOMER, Target, attainment
from bench.components import POSTGRESQL_CREW, REDIS_CREW
from bench.report import spanish
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Row, find, workloads
from bench.report.sources import Material

POSTGRESQL, REDIS = "postgresql_turn", "redis_turn"
TITLES = {
    "End to end": "Extremo a extremo (E2E)",
    "LLM, first byte": "Primer byte del modelo (TTFB)",
    "PostgreSQL": "PostgreSQL",
    "Redis": "Redis",
}
HOPED_MS = {
    "End to end": "1.000-1.500",
    "LLM, first byte": "600-800",
    "PostgreSQL": "10-15",
    "Redis": "0,5-0,8",
}
"""What the customer wrote beside each target; the ratios in `bench.claims.CUSTOMER` follow from it."""

HEADER = (
    "carga de trabajo", "V1", "V1 afinado", "V2 fijo", "V2", "veces mejor que V1", "intervalo 95 %",
    "objetivo", "estado", "sin respuesta V1", "sin respuesta V2", "origen",
)  # fmt: skip
LITTLE_LESS = 0.8
"""Below this share of V1's computed tokens we say that V2 spares the engine work."""


def title(target: Target) -> str:
    return TITLES.get(target.title, target.title)


def wanted(target: Target, ledger: Ledger) -> str:
    """`4,8-7,2x`."""
    text = f"{spanish.grouped(target.low, 1)}-{spanish.grouped(target.high, 1)}"
    return ledger.state(text, "bench.claims.CUSTOMER")


def rows_of(target: Target, material: Material) -> list[Row]:
    """Every measured row that speaks of a target: alone, and inside whole requests at every load."""
    if target.experiment in {POSTGRESQL, REDIS}:
        alone = find(material, treatment="v2", experiment=target.experiment, measure=target.measure)
        return alone + workloads(material, f"{target.title} p50")
    return workloads(material, target.measure)


def state(target: Target, row: Row) -> str:
    """Met, missed or undecided, by the same rule as the terminal's table; nothing where nobody waits."""
    if row.waits_no_more():
        return f"V2 no espera a {title(target)}"
    return spanish.ATTAINED[attainment(target, row.source.at(("summary", row.at)))]


def tables(page: Page, material: Material, ledger: Ledger, *, reasons: bool = True) -> None:
    """One table a target, and under it why it came out so."""
    for target in CUSTOMER:
        page.head(title(target), 3)
        before = ledger.state(spanish.number(target.before_ms, "count"), "bench.claims.CUSTOMER")
        hoped = ledger.state(HOPED_MS.get(target.title, spanish.NOT_MEASURED), "la tabla del cliente")
        page.say(
            f"El cliente partía de {before} ms y esperaba {hoped} ms, es decir, "
            f"{wanted(target, ledger)} veces mejor. Esas cifras son de su máquina; las de abajo, en "
            "milisegundos, de la nuestra. Se comparan las razones."
        )
        found = rows_of(target, material)
        if not found:
            page.say("No medido en esta corrida.")
            continue
        page.table(HEADER, [_line(target, row, material, ledger) for row in found])
        if reasons:
            page.items(list(_reasons(target, found, material, ledger)))


def _line(target: Target, row: Row, material: Material, ledger: Ledger) -> list[str]:
    return [
        row.where,
        row.cite(ledger, "control_value"),
        sibling(row, "v1_tuned", material, ledger),
        sibling(row, "fixed", material, ledger),
        row.cite(ledger, "treatment_value"),
        row.cite(ledger, "ratio", "ratio"),
        row.interval(ledger),
        wanted(target, ledger),
        state(target, row),
        row.lost(ledger, "control"),
        row.lost(ledger, "treatment"),
        row.origin,
    ]


def sibling(row: Row, arm: str, material: Material, ledger: Ledger) -> str:
    """What another arm did in the same measure at the same load, with the row it comes from."""
    found = find(
        material,
        treatment=arm,
        measure=row.get("measure"),
        experiment=row.get("experiment"),
        level=row.value("level"),
    )
    return (
        f"{found[0].cite(ledger, 'treatment_value')} ({found[0].origin})" if found else spanish.NOT_MEASURED
    )


def _reasons(target: Target, found: Sequence[Row], material: Material, ledger: Ledger) -> list[str]:
    if target.experiment in _ALONE:
        return _stage_reasons(target, found, ledger)
    if target.title == "LLM, first byte" and rows_of(CUSTOMER[0], material):
        return [
            (
                "El primer token espera a que el motor lea lo que no conoce del prompt: cuánto es en cada "
                "brazo está dicho bajo la tabla anterior, en las mismas corridas."
            )
        ]
    lines = [tokens(row, ledger) for row in found]
    if target.measure.startswith("end to end"):
        lines += [bound for row in found if (bound := _bound(target, row, material, ledger))]
    return lines


_ALONE = {
    POSTGRESQL: (
        POSTGRESQL_CREW,
        "POSTGRESQL_CREW",
        (
            "V2 junta en un INSERT las filas de quienes esperan y atiende por orden de llegada; V1 abre una "
            "transacción por fila sobre el pool corriente."
        ),
        (
            "Dentro de una petición de chat hay pocas escrituras simultáneas que juntar y el motor ocupa los "
            "núcleos."
        ),
        "una petición de chat hace menos viajes y guarda en un solo INSERT lo que llegó junto.",
    ),
    REDIS: (
        REDIS_CREW,
        "REDIS_CREW",
        (
            "V2 comparte una conexión y envía en una sola escritura lo que produjo cada vuelta del bucle; V1 "
            "toma y devuelve una conexión por orden."
        ),
        (
            "Dentro de una petición de chat V2 maneja la conversación entera, y V1 sólo los últimos "
            "fragmentos: es el precio de enviar al modelo un prompt al que sólo se agrega."
        ),
        (
            "V2 lee las conversaciones recientes de su propia memoria y escribe en Redis después de "
            "responder; lo que queda es consultar esa memoria. No significa que Redis sea más rápido."
        ),
    ),
}
"""Callers, the constant that says how many, how the component works alone, what is different in a chat, and
why a chat waits less where it does."""


def _stage_reasons(target: Target, found: Sequence[Row], ledger: Ledger) -> list[str]:
    """What the rows of a component show: each sentence stands only where rows of that kind are there."""
    crew, constant, alone, inside, spared = _ALONE[target.experiment]
    chats = [row for row in found if row.is_chat]
    lines = []
    if len(chats) < len(found):
        callers = ledger.state(str(crew), f"bench.components.{constant}")
        lines.append(f"Solo, con {callers} llamadores a la vez: {alone}")
    idle = [row for row in chats if row.waits_no_more()]
    if idle:
        lines.append(
            f"V2 ya no espera a {title(target)} dentro de la petición ({_names(idle)}): la mitad de las "
            f"veces esa etapa tarda menos que la vuelta más corta a un servidor. No significa que "
            f"{title(target)} sea más rápido, sino que en el camino de la petición no se le pregunta; la "
            "razón es sólo una cota y no se compara con el objetivo."
        )
    quicker = [row for row in chats if row not in idle and row.get("verdict") == "better"]
    if quicker:
        lines.append(f"Dentro de una petición ({_names(quicker)}) V2 espera menos: {spared}")
    open_ones = [row for row in chats if row not in idle and row.get("verdict") != "better"]
    if open_ones:
        worse = [row for row in open_ones if row.get("verdict") == "worse"]
        said = f"En {_names(open_ones)} no quedó demostrado que V2 espere menos"
        lines.append(f"{said}{f'; en {_names(worse)} espera más' if worse else ''}. {inside}")
    return lines


def _names(found: Sequence[Row]) -> str:
    return ", ".join(row.origin for row in found)


def tokens(row: Row, ledger: Ledger) -> str:
    """How much the engine had to compute in each arm: where the time to the first token comes from."""
    done = [row.value(f"{side}_prompt_tokens") - row.value(f"{side}_cached_tokens") for side in _SIDES]
    if not all(map(math.isfinite, done)):
        return f"{row.where}: el archivo no dice cuántos tokens se reutilizaron."
    parts = [
        f"{spanish.arm(row.get(side))} envió {row.cite(ledger, f'{side}_prompt_tokens', 'count')} tokens por "
        f"respuesta, el motor conocía {row.cite(ledger, f'{side}_cached_tokens', 'count')} y computó "
        f"{_difference(row, side, computed, ledger)}"
        for side, computed in zip(_SIDES, done, strict=True)
    ]
    spared = (
        "hay trabajo que ahorrar antes del primer token"
        if done[1] < LITTLE_LESS * done[0]
        else "no hay trabajo que ahorrar, y no cabe esperar una mejora por esta vía"
    )
    return f"{spanish.sentence(row.where)} ({row.origin}): {'; '.join(parts)}. Aquí {spared}."


_SIDES = ("control", "treatment")


def _difference(row: Row, side: str, value: float, ledger: Ledger) -> str:
    paths = [(row.source, row.path(f"{side}_{name}_tokens")) for name in ("prompt", "cached")]
    return ledger.derive(value, "count", "tokens del prompt menos tokens conocidos", paths)


def _bound(target: Target, row: Row, material: Material, ledger: Ledger) -> str:
    """What the ratio would be if the first token came at once: the generation itself is not shortened."""
    first = find(
        material,
        treatment="v2",
        measure=row.get("measure").replace("end to end", "first token"),
        experiment=row.get("experiment"),
        level=row.value("level"),
    )
    if not first:
        return ""
    generating = row.value("treatment_value") - first[0].value("treatment_value")
    if not generating > 0:
        return ""
    ratio = row.value("control_value") / generating
    inputs = [
        (row.source, row.path("control_value")),
        (row.source, row.path("treatment_value")),
        (row.source, first[0].path("treatment_value")),
    ]
    limit = ledger.derive(ratio, "ratio", "E2E de V1 / (E2E de V2 - primer token de V2), medianas", inputs)
    word = "por debajo del" if ratio < target.low else "no por debajo del"
    return (
        f"{spanish.sentence(row.where)}: una vez llegado el primer token, generar el resto tarda lo que "
        "tarda el modelo. Aunque el primer token de V2 fuera inmediato, la razón sería del orden de "
        f"{limit} (cociente de medianas): {word} objetivo."
    )
