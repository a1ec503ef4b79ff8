"""REIVINDICACION_7_BUFFERS_DINAMICOS.md: the method as it is built, element by element, with its proof."""

from bench.report import losses, method, plain
from bench.report.claim7_elements import ELEMENTS, KNOWN_ART, SEARCHES, Element
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Row, contests, find
from bench.report.sources import Material
from bench.report.spanish import NOT_MEASURED, contender, metric


def render(material: Material, ledger: Ledger) -> str:
    page = Page("Reivindicación 7: buffers dinámicos")
    method.banner(page, material, ledger)
    page.head("En una página")
    plain.idea(page)
    page.say(
        "La reivindicación es un método: cada cantidad de un servicio que tiene un óptimo que se mueve se "
        "gobierna con una ley pura, alimentada por mediciones del propio servicio, cuya salida lleva una "
        "razón y es obedecida por una cola que el servicio posee. Este documento dice qué está "
        "construido, en qué archivo, y qué medición lo muestra o no lo muestra; qué era conocido; y qué "
        "se buscó sin hallarlo. No es un dictamen de patentabilidad: eso corresponde a un especialista "
        "con una búsqueda en bases de patentes, que aquí no se hizo."
    )
    page.head("El método, elemento por elemento")
    for at, element in enumerate(ELEMENTS, start=1):
        _element(page, at, element, material, ledger)
    page.head("Qué aporta la adaptación y qué la estructura")
    _structure(page, material, ledger)
    page.head("Lo que era conocido")
    page.say("Ninguno de los ingredientes siguientes es de este proyecto; el método los usa o se les parece.")
    page.table(
        ("idea", "dónde se conocía", "qué hace distinto este método"), [list(row) for row in KNOWN_ART]
    )
    page.head("Qué se buscó y qué se halló")
    page.say(
        "Búsqueda del 22 de noviembre de 2026, en un índice de documentación, hilos de GitHub, código "
        "público y páginas web. Es limitada: no abarca patentes, ni literatura tras un muro de pago, ni "
        "código cerrado, y una búsqueda por significado puede pasar algo por alto. «No hallado» quiere decir "
        "eso y nada más."
    )
    page.table(("se buscó", "se halló", "no se halló"), [list(row) for row in SEARCHES])
    losses.section(page, material, ledger, parts=False)
    method.provenance(page, material, ledger)
    return page.text()


def _element(page: Page, at: int, element: Element, material: Material, ledger: Ledger) -> None:
    page.head(f"7.{at}. {element.title}", 3)
    page.say(element.text)
    page.say("Archivos: " + ", ".join(f"`{path}`" for path in element.files) + ".")
    page.say("Pruebas: " + ", ".join(f"`{path}`" for path in element.tests) + ".")
    shown = _main_rows(element, material, ledger) + _part_rows(element, material, ledger)
    if shown:
        page.table(("medición", "contra", "veces mejor", "intervalo 95 %", "veredicto", "origen"), shown)
        if any(line[4] == "sin intervalo" for line in shown):
            page.say(
                "Las filas sin intervalo tienen menos de cinco bloques: no deciden nada.", element.otherwise
            )
    else:
        page.say(f"Medición en los archivos de este informe: {NOT_MEASURED}. {element.otherwise}".rstrip())


def _main_rows(element: Element, material: Material, ledger: Ledger) -> list[list[str]]:
    return [
        [
            f"{row.where}: {row.name()}",
            row.pair.partition(" y ")[0],
            row.cite(ledger, "ratio", "ratio"),
            row.interval(ledger),
            row.verdict(),
            row.origin,
        ]
        for experiment, measure in element.measured
        for row in find(material, experiment=experiment, measure=measure)
        if row.is_ours
    ]


def _part_rows(element: Element, material: Material, ledger: Ledger) -> list[list[str]]:
    return [
        [
            f"{contest.scene}: {metric(contest.metric)}",
            contender(contest.other),
            contest.number(ledger, "ratio"),
            contest.interval(ledger),
            contest.verdict,
            contest.origin,
        ]
        for source in material.parts
        for contest in contests(source)
        if (contest.experiment, contest.metric) in element.parts
    ]


def _structure(page: Page, material: Material, ledger: Ledger) -> None:
    """The ablation decides; without it nothing is claimed for the adapting as such."""
    found = [row for row in find(material, treatment="fixed") if row.get("control") == "v1"]
    if not found:
        page.say(
            "«V2 fijo» no se midió en esta corrida: con estos datos no se puede atribuir a la adaptación, "
            "separada de la estructura, ninguna parte de la mejora."
        )
        return
    page.say(
        "V2 fijo tiene la estructura de V2 y los límites clavados. Si su razón contra V1 es como la de "
        "V2, la mejora es de la estructura; la adaptación se justifica entonces por conservarla cuando "
        "cambian la carga o la capacidad."
    )
    lines = [
        [
            f"{row.where}: {row.name()}",
            f"{row.cite(ledger, 'ratio', 'ratio')} ({row.interval(ledger)})",
            f"{other.cite(ledger, 'ratio', 'ratio')} ({other.interval(ledger)})",
            f"{row.origin} y {other.origin}",
        ]
        for row in found
        for other in _same(row, material)
    ]
    page.table(("medición", "V2 fijo contra V1", "V2 contra V1", "origen"), lines)


def _same(row: Row, material: Material) -> list[Row]:
    """V2 in the measure and at the load of a row."""
    where = {key: row.get(key) for key in ("experiment", "measure")}
    return find(material, treatment="v2", level=row.value("level"), **where)[:1]
