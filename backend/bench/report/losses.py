"""`Dónde no ayuda`: every measured case in which the new one is not shown to be better, found by rule."""

import math
from collections.abc import Sequence

from bench.report import spanish
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Contest, Row, contests, ours, rows
from bench.report.sources import Material

TITLE = "Dónde no ayuda"


def losing(material: Material) -> list[Row]:
    """Rows of V2 without the verdict `better`: worse ones first, then by ratio."""
    found = [row for row in ours(material.main) if row.get("verdict") != "better"]
    return sorted(found, key=lambda row: (row.get("verdict") != "worse", _known(row.value("ratio"))))


def _known(ratio: float) -> float:
    return ratio if math.isfinite(ratio) else 0.0


def main_ones(found: Sequence[Row]) -> list[Row]:
    """For a short document: headline measures, and all whose interval lies below 1."""
    return [row for row in found if row.get("primary") or row.value("high") < 1]


def losing_parts(material: Material) -> list[Contest]:
    """Comparisons of components whose interval does not lie above 1, or that have none."""
    found = [contest for source in material.parts for contest in contests(source) if not contest.is_shown]
    return sorted(found, key=lambda c: (c.source.letter, c.verdict != "**peor**", _known(c.ratio)))


def section(page: Page, material: Material, ledger: Ledger, *, parts: bool = True) -> None:
    """The rule, the counts, both tables. Nothing is chosen by hand."""
    page.head(TITLE)
    mine = ours(material.main)
    found = losing(material)
    total = _count(len(mine), material, ledger)
    open_count = _count(len(found), material, ledger)
    worse = _count(sum(row.get("verdict") == "worse" for row in found), material, ledger)
    page.say(
        "Esta lista la hace el programa: contiene todas las medidas de la corrida en las que V2 no quedó "
        f"«mejor». De {total} medidas de V2 o de una de sus piezas contra lo que había, {open_count} están "
        f"aquí; en {worse} lo nuevo es peor. "
        "«Indeciso» no significa «igual»: significa que esta corrida no puede decir cuál es mejor. Puede "
        "quedar indecisa una fila cuyo intervalo no contiene el 1, si no resiste la corrección por el número "
        "de comparaciones.",
        _against(found),
    )
    shown = found if parts else main_ones(found)
    if len(shown) < len(found):
        page.say(
            "Abajo, las principales y aquellas cuyo intervalo queda entero por debajo de 1; todas, con los "
            "componentes, en `RESULTADOS_BUFFERS_DINAMICOS.md`."
        )
    page.table(
        (
            "medida",
            "dónde",
            "brazos",
            "el primero",
            "el segundo",
            "veces mejor",
            "intervalo 95 %",
            "veredicto",
            "origen",
        ),
        [
            [
                row.name(),
                row.where,
                row.pair,
                row.cite(ledger, "control_value"),
                row.cite(ledger, "treatment_value"),
                row.cite(ledger, "ratio", "ratio"),
                row.interval(ledger),
                row.verdict(),
                row.origin,
            ]
            for row in shown
        ],
    )
    _overtaken(page, material, ledger)
    if parts:
        _parts(page, material, ledger)


def _against(found: Sequence[Row]) -> str:
    """Undecided rows that nevertheless point the wrong way."""
    names = [row.origin for row in found if row.value("high") < 1 and row.get("verdict") != "worse"]
    if not names:
        return ""
    return f"Son indicio de que lo nuevo es peor, aunque no demostrado: {', '.join(names)}."


def _overtaken(page: Page, material: Material, ledger: Ledger) -> None:
    """Arms that are not ours and did better against the same control: V1 tuned, other people's clients."""
    page.head("Brazos que van por delante del nuestro", 3)
    lines = []
    for row in ours(material.main):
        for other in rows(material.main):
            if other.is_ours or other.is_control or not _same_scene(row, other):
                continue
            if other.value("ratio") > row.value("ratio"):
                pair = [spanish.arm(found.get("treatment")) for found in (row, other)]
                figures = [found.cite(ledger, "ratio", "ratio") for found in (row, other)]
                lines.append(
                    [row.name(), row.where, pair[0], figures[0], pair[1], figures[1], _origins(row, other)]
                )
    page.say(
        "Ambos contra el mismo brazo de control, en los mismos bloques; la comparación directa entre "
        "ellos no tiene veredicto."
        if lines
        else "Ninguno de los medidos en esta corrida."
    )
    page.table(("medida", "dónde", "nuestro", "veces mejor", "otro", "veces mejor", "origen"), lines)


def _same_scene(one: Row, two: Row) -> bool:
    return all(one.get(key) == two.get(key) for key in ("experiment", "level", "measure", "control"))


def _origins(one: Row, two: Row) -> str:
    return f"{one.origin} y {two.origin}"


def _count(value: int, material: Material, ledger: Ledger) -> str:
    return ledger.derive(value, "count", "número de filas de summary", [(material.main, ("summary",))])


def _parts(page: Page, material: Material, ledger: Ledger) -> None:
    page.head("En los componentes por separado", 3)
    if not material.parts:
        page.say("No medido: no se entregaron archivos de componentes.")
        return
    page.say(
        "Cada componente contra cada uno de los otros clientes con los que se midió, también los que no son "
        "V1. Los bloques de los archivos de PostgreSQL se parean aquí; los de Redis traen su intervalo. Las "
        "filas sin intervalo tienen menos de cinco bloques y no deciden nada, en ningún sentido."
    )
    page.table(
        ("caso", "medida", "nuestro", "contra", "veces mejor", "intervalo 95 %", "veredicto", "origen"),
        [
            [
                spanish.cell(contest.experiment),
                spanish.metric(contest.metric),
                spanish.contender(contest.ours),
                spanish.contender(contest.other),
                contest.number(ledger, "ratio"),
                contest.interval(ledger),
                contest.verdict,
                contest.origin,
            ]
            for contest in losing_parts(material)
        ],
    )
