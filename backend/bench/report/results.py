"""RESULTADOS_BUFFERS_DINAMICOS.md: everything that was measured."""

from collections.abc import Sequence

from bench.report import customer, losses, method, plain, repetition, spanish, timelines
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Contest, Row, contests, groups, rows
from bench.report.sources import Material, Source

HEADER = (
    "medida", "brazos", "el primero", "el segundo", "veces mejor", "intervalo 95 %", "veredicto",
    "sin respuesta", "origen",
)  # fmt: skip


def render(material: Material, ledger: Ledger, pictures: Sequence[tuple[str, str]]) -> str:
    page = Page("Resultados de los buffers dinámicos")
    method.banner(page, material, ledger)
    plain.one_page(page, material, ledger)
    page.head("La tabla del cliente, fila por fila")
    customer.tables(page, material, ledger)
    for alternative, path in pictures:
        page.picture(alternative, path)
    measured(page, material, ledger)
    components(page, material, ledger)
    losses.section(page, material, ledger)
    timelines.section(page, material, ledger)
    method.a_a(page, material, ledger)
    method.power(page, material, ledger)
    repetition.section(page, material, ledger)
    method.fairness(page, material, ledger)
    method.glossary(page)
    method.environment(page, material, ledger)
    method.provenance(page, material, ledger)
    return page.text()


def measured(page: Page, material: Material, ledger: Ledger) -> None:
    """Every row of the main file, in groups of workload and load."""
    page.head("Todas las medidas")
    page.say(
        "«Sin respuesta» es fallidas + rechazadas, del total de peticiones, primero del primer brazo y luego "
        "del segundo. Entre corchetes, el intervalo 95 % de cada valor."
    )
    for found in groups([row for row in rows(material.main) if not row.is_control]).values():
        page.head(found[0].where, 3)
        page.table(HEADER, [_line(row, ledger) for row in found])
        for row in _one_an_arm(found):
            if row.is_chat:
                page.say(_work(row, ledger))


def _one_an_arm(found: Sequence[Row]) -> list[Row]:
    return list({(row.get("control"), row.get("treatment")): row for row in reversed(found)}.values())[::-1]


def _line(row: Row, ledger: Ledger) -> list[str]:
    return [
        row.name(),
        row.pair,
        *(_with_interval(row, side, ledger) for side in ("control", "treatment")),
        row.cite(ledger, "ratio", "ratio"),
        row.interval(ledger),
        row.verdict(),
        "; ".join(row.lost(ledger, side) for side in ("control", "treatment")),
        row.origin,
    ]


def _with_interval(row: Row, side: str, ledger: Ledger) -> str:
    text = row.cite(ledger, f"{side}_value")
    if row.get(f"{side}_low") is None or row.get(f"{side}_high") is None:
        return text
    return f"{text} [{row.cite(ledger, f'{side}_low')} a {row.cite(ledger, f'{side}_high')}]"


def _work(row: Row, ledger: Ledger) -> str:
    sides = [
        f"{spanish.arm(row.get(side))}: {row.cite(ledger, f'{side}_output_tokens')} de salida, "
        f"{row.cite(ledger, f'{side}_prompt_tokens', 'count')} de entrada, de ellos "
        f"{row.cite(ledger, f'{side}_cached_tokens', 'count')} ya conocidos por el motor"
        for side in ("control", "treatment")
    ]
    return f"Tokens de una respuesta media [{row.origin}]. {'. '.join(sides)}."


def components(page: Page, material: Material, ledger: Ledger) -> None:
    """Each component file with its own commit; favourable and unfavourable comparisons alike."""
    page.head("Componentes por separado")
    if not material.parts:
        page.say("No medido: no se entregaron archivos de componentes.")
        return
    page.say(
        "Medidos en otras corridas, con su propio commit y orden: no se suman ni se promedian con lo "
        "anterior. Las filas en que el nuestro no gana están, además, en «Dónde no ayuda»."
    )
    for source in material.parts:
        _component(page, source, ledger)


def _component(page: Page, source: Source, ledger: Ledger) -> None:
    page.head(f"{source.letter}: `{source.name}`", 3)
    state = ", con cambios locales sin guardar" if source.is_dirty else ""
    page.say(f"`{source.command}`, commit `{source.commit}`{state}.")
    page.table(
        ("caso", "medida", "nuestro", "contra", "veces mejor", "intervalo 95 %", "veredicto", "origen"),
        [_contest(contest, ledger) for contest in contests(source)],
    )


def _contest(contest: Contest, ledger: Ledger) -> list[str]:
    return [
        spanish.cell(contest.experiment),
        spanish.metric(contest.metric),
        spanish.contender(contest.ours),
        spanish.contender(contest.other),
        contest.number(ledger, "ratio"),
        contest.interval(ledger),
        contest.verdict,
        contest.origin,
    ]
