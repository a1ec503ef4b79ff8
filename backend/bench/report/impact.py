"""ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md: servers from measured capacities and a formula; no money."""

import math
from collections.abc import Mapping, Sequence

from bench.report import findings, spanish
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.study import Study
from bench.summary import Capacity

EXAMPLE_PER_S, RESERVE = 100.0, 0.3
ARMS = ("v1", "v1_best", "v2_constants", "v2_whole", "v2")
SHOWN = ("v1", "v1_best", "v2")


def render(study: Study) -> str:
    page = Page("Análisis de impacto en la infraestructura de TI")
    page.say(
        "La pregunta es cuántos servidores hacen falta para atender a las mismas personas. Depende de una "
        "sola cantidad medida: cuántas respuestas por segundo da una máquina. Responder antes no ahorra "
        "por sí solo ningún servidor."
    )
    page.say(findings.capacity(study))
    _formula(page)
    _capacity(page, study)
    _example(page, study)
    page.head("Lo que este análisis no dice")
    page.items(
        [
            (
                "**Dinero.** Depende del precio de cada servidor, que el cliente conoce; con el suyo, se "
                "multiplica por N."
            ),
            "**Energía.** No se midió. Suponer igual potencia por servidor sería inventarla.",
            (
                "**Una cifra mundial.** No sabemos cuántos servicios se parecen a esta carga. La parte que "
                "depende del método es la razón entre capacidades; se aplica a la flota que alguien haya "
                "contado."
            ),
            (
                "**GPU.** En un servicio con GPU el costo lo domina ella; cuánto se ahorra depende del "
                "modelo y del motor."
            ),
            (
                "**Varios servidores.** Que N crezca en proporción a L supone que una persona vuelve siempre "
                "al mismo; si no, la conversación recordada se reparte y C baja."
            ),
        ]
    )
    page.head("Límites de lo medido")
    page.items(
        [
            (
                f"Una máquina de {study.cores} en la que el motor, PostgreSQL, Redis, el servicio y el "
                "generador de carga se reparten el procesador. En producción van separados y la proporción "
                "cambia."
            ),
            (
                "El beneficio se concentra donde las mismas personas vuelven: en una pregunta suelta no hay "
                "conversación que recordar, y con más conversaciones vivas que memoria se acaba "
                "(`RESULTADOS_BUFFERS_DINAMICOS.md`)."
            ),
            (
                "Una mejora de eficiencia puede aumentar el uso (efecto rebote); el ahorro total es entonces "
                "menor que el ahorro por respuesta."
            ),
        ]
    )
    foot(page, study)
    return page.text()


def _formula(page: Page) -> None:
    page.head("La fórmula")
    page.say("**N = techo( L · (1 + r) / C )**")
    page.table(
        ("símbolo", "qué es", "de dónde sale"),
        [
            ("N", "servidores", "se calcula"),
            ("L", "respuestas por segundo que hay que dar", "del lector"),
            ("r", "reserva para puntas y fallas", f"supuesto: {spanish.percent(RESERVE)}"),
            ("C", "respuestas por segundo de una máquina", "**medido** para cada versión"),
        ],
    )


def capacities(study: Study, arms: Sequence[str] = ARMS) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and one row a version; none where it was not measured in rounds enough."""
    header = ("versión", "respuestas/s", "intervalo 95 %", "mayor carga con 99 % a tiempo")
    found = {arm: study.capacity(arm) for arm in arms}
    return header, [
        (
            spanish.sentence(spanish.arm(arm)), spanish.number(value.estimate),
            spanish.between(value.low, value.high, None), _in_time(value),
        )
        for arm, value in found.items()
        if value is not None
    ]  # fmt: skip


def _capacity(page: Page, study: Study) -> None:
    page.head("Capacidad medida (C)")
    header, rows = capacities(study)
    if not rows:
        page.say(findings.absent("La capacidad de cada versión"), "Sin ella no se calcula ningún servidor.")
        return
    page.say(
        "Respuestas por segundo en lazo cerrado: personas que no se detienen a leer, de modo que el tope se "
        "alcanza. A la derecha, la mayor carga ensayada en que 99 de cada 100 respuestas llegaron a tiempo."
    )
    page.table(header, rows)


def _example(page: Page, study: Study) -> None:
    page.head("Un ejemplo")
    found = {arm: study.capacity(arm) for arm in SHOWN}
    known = {arm: value for arm, value in found.items() if value is not None}
    if not {"v1", "v2"} <= set(known):
        page.say(
            "No se da un número de servidores: falta la capacidad de alguna versión con rondas suficientes."
        )
        return
    rows = []
    for arm, value in known.items():
        most, least = servers(EXAMPLE_PER_S, value.low), servers(EXAMPLE_PER_S, value.high)
        needed = str(servers(EXAMPLE_PER_S, value.estimate))
        rows.append((spanish.arm(arm), spanish.number(value.estimate), needed, f"{least} a {most}"))
    page.say(
        f"Para L = {spanish.count(EXAMPLE_PER_S)} respuestas por segundo y r = {spanish.percent(RESERVE)}. "
        "Las máquinas son como la de la prueba, con este modelo; lo que se puede llevar a otra parte es "
        "la proporción."
    )
    page.table(("versión", "C", "N", "N en los extremos del intervalo"), rows)
    page.items([_saving(known, rival) for rival in ("v1", "v1_best") if rival in known])


def _saving(known: Mapping[str, Capacity], rival: str) -> str:
    """How many servers with V2 do the work of a hundred others; nothing where the intervals touch."""
    one, two, name = known[rival], known["v2"], spanish.arm(rival)
    if two.low <= one.high:
        return f"Los intervalos de {name} y V2 se tocan: **frente a {name} no se afirma ningún ahorro.**"
    needed = math.ceil(100 * one.estimate / two.estimate)
    return f"De cada 100 servidores con {name} bastan {needed} con V2, para esta carga y este modelo."


def _in_time(found: Capacity) -> str:
    """The largest load of which 99 % were in time, as people and answers a second."""
    if not math.isfinite(found.people):
        return "ninguna de las ensayadas"
    people, share = spanish.count(found.people), spanish.percent(found.share)
    return f"{people} personas ({share} de su tope, {spanish.number(found.people_per_s)}/s)"


def servers(load_per_s: float, capacity_per_s: float) -> int:
    """Servers for a load, with the reserve."""
    return math.ceil(load_per_s * (1 + RESERVE) / capacity_per_s)
