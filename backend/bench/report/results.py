"""RESULTADOS_BUFFERS_DINAMICOS.md: the headline rows of both runs; every other row is in the annex."""

from bench.catalogue import LIVING, POSTGRESQL, REDIS, RUNGS, SAME, STATIONARY, VISITS
from bench.report import customer, findings, spanish
from bench.report import day as days
from bench.report.origin import foot, warnings
from bench.report.page import Page
from bench.report.presentation import Pictures
from bench.report.study import END, FIRST, TAIL, TURN, V1, V2, Figure, Study, where

COLUMNS = ("V1", "V2", "razón", "intervalo 95 %", "cada corrida", "fila")
MOST = 6
"""Of a list: the rest is in the annex."""


def render(study: Study, pictures: Pictures) -> str:
    page = Page("Resultados de los buffers dinámicos")
    page.say(f"**{customer.headline(study)}.**", findings.rivals(study))
    page.say(findings.assumed(study))
    claims(page, study)
    page.head("Las cuatro metas del cliente")
    if "customer" in pictures:
        page.picture(*pictures["customer"])
    page.table(*customer.full_table(study))
    page.say(
        "«Cumplida»: todo el intervalo llega a la meta.", customer.WHY_REALISTIC, customer.same_people(study)
    )
    missing = [name for name, section in SECTIONS if not section(page, study, pictures)]
    losses(page, study)
    page.head("Lo que debilita estas cifras")
    unknown = [f"**{spanish.sentence(spanish.ABSENT)}:** {spanish.joined(missing)}."] if missing else []
    page.items([*unknown, *warnings(study)[: 2 * MOST]])
    foot(page, study)
    return page.text()


def claims(page: Page, study: Study) -> None:
    """The only rows with a verdict."""
    page.head("Las cinco afirmaciones")
    page.say(
        "Escritas antes de medir. Solo ellas llevan veredicto, corregido por cuántas son (Holm); todo lo "
        "demás se da como razón (más de 1 favorece a V2) e intervalo."
    )
    page.table(
        ("n.º", "afirmación", "razón", "intervalo 95 %", "veredicto"),
        [
            (str(at), claim.es, *findings.told_claim(claim), findings.verdict(claim))
            for at, claim in enumerate(study.claims, start=1)
        ],
    )


def line(figure: Figure) -> tuple[str, ...]:
    """As `COLUMNS` has it."""
    values = (figure.value("control"), figure.value("treatment"))
    return (*values, figure.ratio, figure.interval, figure.runs, str(figure.at) if figure.at >= 0 else "")


def people(page: Page, study: Study, pictures: Pictures) -> bool:
    """False where there is nothing to tell; so are the other sections."""
    found = [
        figure
        for measure in (END, TAIL, FIRST)
        for figure in study.figures(experiment=VISITS, measure=measure, treatment=V2, control=V1)
    ]
    if not found:
        return False
    page.head("Personas que vuelven, según la carga")
    page.say(findings.capacity(study))
    if "load" in pictures:
        page.picture(*pictures["load"])
    page.table(
        ("medida", "carga", "personas V1 y V2", *COLUMNS),
        [
            (
                f.name,
                f.level,
                f"{spanish.count(f.row.control_people)} y {spanish.count(f.row.treatment_people)}",
                *line(f),
            )
            for f in found
        ],
    )
    page.say(findings.shorter(study))
    return True


def ladder(page: Page, study: Study, pictures: Pictures) -> bool:
    found = list(study.figures(experiment=RUNGS, measure=END, control=V1))
    if not found:
        return False
    page.head("Aporte de cada mejora")
    page.say("Las mismas personas para todas las variantes. La razón es siempre frente a V1.")
    if "ladder" in pictures:
        page.picture(*pictures["ladder"])
    page.table(
        ("variante", "respuesta completa, mediana", *COLUMNS[2:]),
        [(spanish.sentence(spanish.arm(f.row.treatment)), *line(f)[1:]) for f in found],
    )
    law = study.figure(RUNGS, END, control="v2_constants")
    if law is not None:
        page.say(f"Lo que agrega la ley a las mejores constantes de la misma estructura: {law.told()}.")
    return True


def day(page: Page, study: Study, pictures: Pictures) -> bool:
    found = days.day_of(study)
    if found is None and not study.has(STATIONARY):
        return False
    page.head("Un día que cambia")
    page.say(days.told(study))
    if "day" in pictures:
        page.picture(*pictures["day"])
    if found is not None:
        page.table(days.HEADER, days.whole_rows(found))
    page.say(days.stationary(study))
    return True


def live(page: Page, study: Study, pictures: Pictures) -> bool:
    found = list(study.figures(experiment=LIVING, measure=END, treatment=V2, control=V1))
    if not found:
        return False
    page.head("Conversaciones vivas")
    page.say(
        "La mejora depende de que el motor recuerde el comienzo de la conversación. Con más "
        "conversaciones vivas que memoria se acaba; aquí se ve hasta dónde llega."
    )
    if "live" in pictures:
        page.picture(*pictures["live"])
    page.table(("conversaciones vivas", *COLUMNS), [(spanish.count(f.row.level), *line(f)) for f in found])
    return True


def turns(page: Page, study: Study, _: Pictures) -> bool:
    found = [
        figure
        for experiment in (POSTGRESQL, REDIS)
        for figure in study.figures(experiment=experiment, treatment=V2)
        if figure.row.control == V1 or figure.row.measure == TURN
    ]
    if not found:
        return False
    page.head("Una interacción de PostgreSQL y de Redis")
    page.say(
        "Lo que una interacción del chat le pide a cada servidor, sin el modelo, con 60 y 64 clientes "
        "simultáneos. Dentro de un chat V2 además evita preguntarle a Redis, porque recuerda en su propia "
        "memoria: eso no hace más rápido a Redis y no se cuenta como tal."
    )
    page.table(
        ("medida", "V2 contra", "el otro", *COLUMNS[1:]),
        [(f"{where(f)}: {f.name}", spanish.arm(f.row.control), *line(f)) for f in found],
    )
    return True


def engines(page: Page, study: Study, _: Pictures) -> bool:
    """Real weights and the customer's engine; the guard on quality."""
    if not study.others:
        return False
    page.head("Motores reales")
    rows = [
        (spanish.engine(run.engine), f"{where(figure)}: {figure.name}", *line(figure)[:4])
        for run in study.others
        for figure in (Figure(-1, row, (row,)) for row in run.summary.rows)
        if (figure.row.control, figure.row.treatment) == (V1, V2)
        and figure.row.measure in {END, FIRST, "answers"}
    ]
    page.table(("motor", "medida", *COLUMNS[:4]), rows)
    page.say(findings.remembered(study))
    return True


def faults(page: Page, study: Study, _: Pictures) -> bool:
    if not study.summary.faults:
        return False
    page.head("Fallas")
    page.say(findings.faults(study))
    return True


def losses(page: Page, study: Study) -> None:
    """Slower, equal and not shown, apart."""
    page.head("Dónde no ayuda")
    kinds = study.kinds()
    for kind, heading in (
        ("worse", "Más lento (todo el intervalo bajo 1)"),
        ("equal", "Igual (todo el intervalo entre 0,8 y 1,25)"),
        ("open", "Sin demostrar (el intervalo contiene el 1, o hay pocas rondas)"),
    ):
        found = kinds[kind]
        chosen = findings.most_telling(found, MOST)
        rest = len(found) - len(chosen)
        more = [f"Y {rest} más en `anexo/filas.csv`."] if rest else []
        page.say(f"**{heading}.**", "Ninguna medida." if not found else "")
        page.items([*map(_listed, chosen), *more])


def _listed(figure: Figure) -> str:
    against = spanish.arm(figure.row.control)
    return (
        f"{spanish.sentence(where(figure))}: {figure.name}, contra {against}: {figure.ratio} "
        f"({figure.interval})."
    )


def same_code(page: Page, study: Study, _: Pictures) -> bool:
    found = [figure for figure in study.figures(experiment=SAME) if figure.is_known]
    if not found:
        return False
    page.head("El mismo código contra sí mismo (A/A)")
    wrong = [figure for figure in found if figure.kind in {"better", "worse"}]
    page.say(
        f"Si el procedimiento inventara diferencias, las inventaría aquí. De {len(found)} medidas, el "
        f"intervalo deja fuera el 1 en {len(wrong)}; por azar se espera una de cada veinte."
    )
    return True


SECTIONS = (
    ("personas que vuelven", people),
    ("aporte de cada mejora (con V1 ajustada y V2 con constantes)", ladder),
    ("un día que cambia", day),
    ("conversaciones vivas", live),
    ("una interacción de PostgreSQL y de Redis", turns),
    ("motores reales (pesos reales, Ollama) y el recuerdo de lo conversado", engines),
    ("fallas provocadas", faults),
    ("el mismo código contra sí mismo", same_code),
)
"""Those that a run has not are named in one sentence."""
