"""COMPARACION_FINAL_V1_V2.md: V1 and V2 side by side, arm by arm, over load."""

from collections.abc import Sequence

from bench.report import customer, losses, method, plain, repetition, spanish
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Row, find, groups, rows, workloads
from bench.report.sources import Material

PRIMARY = ("first token p50", "first token p90", "end to end p50", "end to end p90", "goodput")

DIFFERENCES = (
    (
        "límite de consultas en PostgreSQL",
        "pool corriente, 5 + 10",
        "compuerta justa con límite aprendido",
        "`src/fluido/laws/_ladder.py`, `src/fluido/sqlalchemy/_pool.py`",
    ),
    (
        "escrituras",
        "una transacción por fila",
        "un INSERT para quienes esperan, con tope que se ajusta",
        "`src/fluido/sqlalchemy/_writer.py`, `src/fluido/laws/_batch_cap.py`",
    ),
    (
        "Redis",
        "cliente y pool corrientes de redis-py",
        "una conexión compartida, una escritura por vuelta",
        "`src/fluido/redis/_link.py`",
    ),
    (
        "prompt",
        "sistema, últimos fragmentos y pregunta",
        "conversación a la que sólo se agrega",
        "`src/fluido/llm/prompt/_compose.py`, `src/fluido/llm/prompt/_budget.py`",
    ),
    (
        "cola del modelo",
        "la del motor, sin límite nuestro",
        "cola propia con plazos, prioridad y rechazo inmediato",
        "`src/fluido/llm/admission/_queue.py`, `src/fluido/llm/admission/_station.py`",
    ),
    (
        "opciones del motor",
        "un perfil por modelo",
        "un perfil por modelo; las de la petición, según el tipo",
        "`src/fluido/llm/_profile.py`, `src/fluido/llm/prompt/_presets.py`",
    ),
)


def render(material: Material, ledger: Ledger, pictures: Sequence[tuple[str, str]]) -> str:
    page = Page("Comparación final: V1 y V2")
    method.banner(page, material, ledger)
    plain.one_page(page, material, ledger)
    page.head("Qué cambia de V1 a V2")
    page.table(("parte", "V1", "V2", "dónde está"), [list(row) for row in DIFFERENCES])
    method.fairness(page, material, ledger)
    matrix(page, material, ledger)
    for alternative, path in pictures:
        page.picture(alternative, path)
    arms(page, material, ledger)
    page.head("Frente a los objetivos del cliente")
    customer.tables(page, material, ledger, reasons=False)
    losses.section(page, material, ledger, parts=False)
    method.a_a(page, material, ledger)
    repetition.section(page, material, ledger)
    method.power(page, material, ledger)
    method.glossary(page)
    method.provenance(page, material, ledger)
    return page.text()


def matrix(page: Page, material: Material, ledger: Ledger) -> None:
    """Ratio over load: a line a workload and measure, a column a load."""
    page.head("Razón según la carga")
    found = list(workloads(material, PRIMARY[2]))
    if not found:
        page.say("No medido en esta corrida.")
        return
    levels = sorted({row.value("level") for row in found})
    page.say(
        "Veces mejor que V1, su intervalo y el veredicto; la carga es la parte de la capacidad de V1 que se "
        "ofrece. Por encima del 100 % la cola crece mientras dura el bloque."
    )
    names = [(e, m) for e in dict.fromkeys(r.get("experiment") for r in found) for m in PRIMARY]
    lines = []
    for experiment, measure in names:
        cells = [_cell(material, ledger, experiment, measure, level) for level in levels]
        if any(cell != spanish.NOT_MEASURED for cell in cells):
            lines.append([spanish.experiment(experiment), spanish.measure(measure), *cells])
    shares = [ledger.state(spanish.number(level, "share"), "carga ofrecida") for level in levels]
    page.table(("carga de trabajo", "medida", *shares), lines)


def _cell(material: Material, ledger: Ledger, experiment: str, measure: str, level: float) -> str:
    found = find(material, treatment="v2", experiment=experiment, measure=measure, level=level)
    if not found:
        return spanish.NOT_MEASURED
    row = found[0]
    return f"{row.cite(ledger, 'ratio', 'ratio')} ({row.interval(ledger)}), {row.verdict()} [{row.origin}]"


def arms(page: Page, material: Material, ledger: Ledger) -> None:
    """V1 tuned, V2 fixed and V2, each against V1: is V1 a straw man, and what does adapting add?"""
    page.head("Los demás brazos: V1 afinado y V2 fijo")
    page.say(
        "V1 afinado responde a la pregunta de si V1 es un rival débil; V2 fijo, a cuánto aporta la "
        "estructura sin adaptarse. Todos se comparan con V1 en los mismos bloques."
    )
    _tuned(page, material, ledger)
    others = [
        row
        for row in rows(material.main)
        if not row.is_ours and not row.is_control and row.get("control") == "v1"
    ]
    for name in ("v1_tuned", "fixed"):
        if not any(row.get("treatment") == name for row in others):
            page.say(f"{spanish.arm(name)}: no medido en esta corrida.")
    for key, found in groups(others).items():
        beside = list(find(material, treatment="v2", experiment=key[0], level=key[1]))
        measures = dict.fromkeys(row.get("measure") for row in found)
        page.head(found[0].where, 3)
        page.table(
            (
                "medida",
                "brazo",
                "V1",
                "el brazo",
                "veces mejor",
                "intervalo 95 %",
                "veredicto",
                "sin respuesta V1",
                "sin respuesta del brazo",
                "origen",
            ),
            [
                _arm_line(row, ledger)
                for measure in measures
                for row in [*found, *beside]
                if row.get("measure") == measure
            ],
        )


def _arm_line(row: Row, ledger: Ledger) -> list[str]:
    return [
        row.name(),
        row.pair.partition(" y ")[2] if row.get("control") == "v1" else row.pair,
        row.cite(ledger, "control_value"),
        row.cite(ledger, "treatment_value"),
        row.cite(ledger, "ratio", "ratio"),
        row.interval(ledger),
        row.verdict(),
        row.lost(ledger, "control"),
        row.lost(ledger, "treatment"),
        row.origin,
    ]


def _tuned(page: Page, material: Material, ledger: Ledger) -> None:
    """What the sweep chose for V1 tuned."""
    found = material.main.at(("configuration", "tuned"))
    if not isinstance(found, dict) or not found:
        return
    page.say("Constantes que el barrido eligió para V1 afinado (0: sin límite):")
    page.table(
        ("constante", "elegida"),
        [
            [f"`{name}`", ledger.cite(material.main, ("configuration", "tuned", name, "chosen"), "count")]
            for name in found
        ],
    )
