"""ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md: servers, cost and energy, from measured capacity and a formula."""

from bench.report import method, spanish
from bench.report.capacity import Capacity, capacities
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.sources import Material

LOADS_PER_S = (10.0, 100.0, 1000.0)
RESERVE = 0.3
WATTS = 150.0
MONTHLY_COST_USD = 60.0
HOURS_A_YEAR = 8760.0
FLEET = 100
ASSUMED = "supuesto del análisis"


def render(material: Material, ledger: Ledger) -> str:
    page = Page("Análisis de impacto en la infraestructura de TI")
    method.banner(page, material, ledger)
    found = capacities(material)
    _one_page(page, found, ledger)
    _formula(page, ledger)
    _capacity(page, found, ledger)
    _servers(page, found, ledger)
    _cost(page, found, ledger)
    _globally(page, found, ledger)
    _limits(page)
    method.glossary(page)
    method.environment(page, material, ledger)
    method.provenance(page, material, ledger)
    return page.text()


def _one_page(page: Page, found: list[Capacity], ledger: Ledger) -> None:
    page.head("En una página")
    page.say(
        "La pregunta es cuántos servidores hacen falta para atender una carga. Depende de una sola cantidad "
        "medida: cuántas respuestas por segundo da un servidor **dentro del plazo**. Responder antes no "
        "ahorra por sí solo ningún servidor; ahorra quien da más respuestas a tiempo con la misma máquina."
    )
    if not found:
        page.say("No medido: la corrida no trae respuestas dentro del plazo para V1 y V2.")
        return
    page.items([_sentence(capacity, ledger) for capacity in found])


def _sentence(capacity: Capacity, ledger: Ledger) -> str:
    name = spanish.sentence(spanish.experiment(capacity.experiment))
    one, two = capacity.cite(ledger, "one"), capacity.cite(ledger, "two")
    row = capacity.two
    text = f"{name}: V1 dio como mucho {one} respuestas por segundo dentro del plazo, y V2 {two}"
    ratio = f"razón {row.cite(ledger, 'ratio', 'ratio')}, intervalo 95 % {row.interval(ledger)}"
    if capacity.is_shown:
        return f"{text} ({ratio} a esa carga). Con V2 hacen falta menos servidores [{row.origin}]."
    if row.get("verdict") == "better":
        return (
            f"{text} ({ratio} a esa carga), pero no se midió con más de lo que V1 puede: ambos dieron lo que "
            f"se les pidió, y eso no es un tope. **No se afirma ningún ahorro de servidores** [{row.origin}]."
        )
    return (
        f"{text} ({ratio} a esa carga, {row.verdict()}). **No se afirma ningún ahorro de servidores** "
        f"[{row.origin}]."
    )


def _formula(page: Page, ledger: Ledger) -> None:
    page.head("Fórmulas")
    page.code(
        "N = techo( L · (1 + r) / C )          (servidores)",
        "energía anual = N · P · h / 1000      (kWh)",
        "costo anual   = N · c · 12            (US$)",
        "emisiones     = energía anual · f     (kg de CO2 equivalente)",
    )
    share, watts = spanish.number(RESERVE, "share"), spanish.number(WATTS, "count")
    cost, hours = spanish.number(MONTHLY_COST_USD, "count"), spanish.number(HOURS_A_YEAR, "count")
    page.table(
        ("símbolo", "qué es", "valor", "de dónde sale"),
        [
            ["L", "carga que hay que atender, respuestas por segundo", "la que se quiera", "del lector"],
            ["C", "respuestas por segundo y servidor dentro del plazo", "ver abajo", "**medido**"],
            ["r", "reserva para puntas y fallas", ledger.state(share, ASSUMED), "supuesto"],
            [
                "P",
                "potencia media de un servidor",
                f"{ledger.state(watts, ASSUMED)} W",
                "supuesto, no medido",
            ],
            ["h", "horas de un año", ledger.state(hours, ASSUMED), "constante"],
            [
                "c",
                "precio mensual de un servidor",
                f"US$ {ledger.state(cost, ASSUMED)}",
                "supuesto, no medido",
            ],
            ["f", "kg de CO2 equivalente por kWh de la red que se use", "no fijado", "del lector"],
        ],
    )
    page.say(
        "Quien tenga su propio C, P, c y f los pone en las fórmulas; las razones entre V1 y V2 no dependen "
        "de P, c ni f. La energía no se midió: suponer la misma potencia por servidor es una simplificación."
    )


def _capacity(page: Page, found: list[Capacity], ledger: Ledger) -> None:
    page.head("Capacidad medida (C)")
    page.say(
        "El mayor número de respuestas dentro del plazo, por segundo, entre las cargas que se midieron. "
        "Quien atendió casi todo lo ofrecido en esa carga no llegó a su tope: su C es una cota inferior. "
        "También lo es la de ambos donde ninguna carga superó la capacidad de V1."
    )
    page.table(
        (
            "carga de trabajo",
            "C de V1",
            "a la carga",
            "C de V2",
            "a la carga",
            "cota inferior",
            "veredicto",
            "origen",
        ),
        [
            [
                spanish.experiment(capacity.experiment),
                capacity.cite(ledger, "one"),
                capacity.one.cite(ledger, "level", "share"),
                capacity.cite(ledger, "two"),
                capacity.two.cite(ledger, "level", "share"),
                " y ".join(capacity.unreached()) or "no",
                capacity.two.verdict(),
                f"{capacity.one.origin} y {capacity.two.origin}",
            ]
            for capacity in found
        ],
    )
    if not found:
        page.say("No medido.")


def _servers(page: Page, found: list[Capacity], ledger: Ledger) -> None:
    page.head("Servidores para una carga (N)")
    lines = []
    for capacity in found:
        for load in LOADS_PER_S:
            low, high = (capacity.servers(ledger, "two", load, RESERVE, end) for end in ("high", "low"))
            lines.append(
                [
                    spanish.experiment(capacity.experiment),
                    ledger.state(spanish.number(load, "count"), ASSUMED),
                    capacity.servers(ledger, "one", load, RESERVE),
                    capacity.servers(ledger, "two", load, RESERVE),
                    "pocos bloques" if spanish.NOT_MEASURED in low + high else f"{low} a {high}",
                    capacity.shown,
                ]
            )
    page.table(
        ("carga de trabajo", "L (respuestas/s)", "N con V1", "N con V2", "N con V2, intervalo 95 % de C",
         "diferencia demostrada"),
        lines,
    )  # fmt: skip
    page.say(
        "N crece en proporción a L sólo si las conversaciones de una persona llegan siempre al mismo "
        "servidor; si no, la reutilización de V2 se reparte y C es menor. Eso no se midió con varios "
        "servidores."
        if found
        else "No medido."
    )


def _cost(page: Page, found: list[Capacity], ledger: Ledger) -> None:
    page.head("Costo y energía de un ejemplo")
    load = LOADS_PER_S[1]
    text = ledger.state(spanish.number(load, "count"), ASSUMED)
    page.say(
        f"Para L = {text} respuestas por segundo y los supuestos de la tabla de arriba. Son aritmética sobre "
        "supuestos, no mediciones; se dan para mostrar el orden de magnitud y la forma del cálculo."
    )
    lines = []
    for capacity in found:
        for arm, name in (("one", "V1"), ("two", "V2")):
            lines.append(
                [spanish.experiment(capacity.experiment), name, *_money(capacity, arm, load, ledger)]
            )
    page.table(("carga de trabajo", "brazo", "servidores", "kWh al año", "US$ al año"), lines)
    if not found:
        page.say("No medido.")


def _money(capacity: Capacity, arm: str, load: float, ledger: Ledger) -> list[str]:
    row, side = (capacity.one, "control") if arm == "one" else (capacity.two, "treatment")
    inputs = [(row.source, row.path(f"{side}_value"))]
    count = capacity.count(arm, load, RESERVE)
    kwh = None if count is None else count * WATTS * HOURS_A_YEAR / 1000
    usd = None if count is None else count * MONTHLY_COST_USD * 12
    return [
        capacity.servers(ledger, arm, load, RESERVE),
        ledger.derive(kwh, "count", f"N · {WATTS:g} · {HOURS_A_YEAR:g} / 1000", inputs),
        ledger.derive(usd, "count", f"N · {MONTHLY_COST_USD:g} · 12", inputs),
    ]


def _globally(page: Page, found: list[Capacity], ledger: Ledger) -> None:
    page.head("Impacto a mayor escala")
    fleet = ledger.state(spanish.number(FLEET, "count"), ASSUMED)
    page.say(
        "Este trabajo no mide cuántos servicios del mundo se parecen a las cargas de prueba, de modo que no "
        "da una cifra mundial. Da la parte que sí depende del método: de una flota que hoy usa "
        f"{fleet} servidores V1 con una carga de trabajo dada, cuántos harían falta con V2 para dar las "
        "mismas respuestas a tiempo. La cifra se multiplica después por la flota que alguien haya contado."
    )
    lines = []
    for capacity in found:
        inputs = [
            (capacity.one.source, capacity.one.path("control_value")),
            (capacity.two.source, capacity.two.path("treatment_value")),
        ]
        needed = FLEET * capacity.value("one") / capacity.value("two")
        text = ledger.derive(needed, "value", f"{FLEET} · C de V1 / C de V2", inputs)
        lines.append([spanish.experiment(capacity.experiment), text, capacity.shown])
    page.table(("carga de trabajo", f"servidores V2 por cada {FLEET} de V1", "diferencia demostrada"), lines)
    page.say(
        "El beneficio se concentra donde las mismas personas vuelven y su conversación puede "
        "reutilizarse. En preguntas sueltas no hay conversación que reutilizar. Una mejora de eficiencia "
        "puede además aumentar el uso (efecto rebote), y entonces el ahorro total es menor que el ahorro "
        "por respuesta."
    )


def _limits(page: Page) -> None:
    page.head("Límites de este análisis")
    page.items(
        [
            (
                "Todo se midió en una sola máquina virtual en la que el motor, PostgreSQL, Redis, "
                "Sentinel y el generador de carga comparten los núcleos. En producción van separados y "
                "la proporción cambia."
            ),
            (
                "El motor corre en CPU. En un servicio con GPU el costo lo domina la GPU; lo que se "
                "ahorra es lectura repetida de prompts, y cuánto vale depende del modelo y del motor."
            ),
            (
                "C de V1 no es la capacidad máxima de V1 afinado; donde se midió V1 afinado, la "
                "comparación está en `COMPARACION_FINAL_V1_V2.md`."
            ),
            "No se midieron potencia eléctrica, memoria por servidor, tráfico de red ni el costo de operar.",
            "No se midieron varios servidores a la vez: la proporcionalidad con L es un supuesto.",
            (
                "Un centro de datos tiene además refrigeración y pérdidas (PUE): multiplique la energía "
                "por el suyo."
            ),
        ]
    )
