"""The customer's table: what was expected, what came out, one number a row."""

from dataclasses import dataclass

from bench.catalogue import RUNGS
from bench.claims import CUSTOMER, Target, attainment
from bench.report import spanish
from bench.report.study import END, FIRST, Figure, Study

TITLES = {
    "End to end": "Respuesta completa (E2E)",
    "LLM, first byte": "Primera palabra (TTFB)",
    "PostgreSQL": "PostgreSQL, una interacción",
    "Redis": "Redis, una interacción",
}
MET, REACHED, MISSED, ABSENT, SHORT = (
    "cumplida", "alcanzada, sin demostrar", "no cumplida", "no medida", "corrida corta",
)  # fmt: skip
STATES = {
    "met": MET, "reached, not shown": REACHED, "missed": MISSED, "not measured": ABSENT,
    "too few rounds": SHORT,
}  # fmt: skip
LIGHTS = {MET: "●", REACHED: "◐", MISSED: "○"}
WHY_REALISTIC = (
    "La carga que cuenta es el 80 % de la capacidad: un servicio se dimensiona para trabajar cerca de "
    "ahí, con reserva para una punta. Con menos carga casi nadie espera; al 100 % manda la cola y no la "
    "versión. Es el 80 % de la capacidad de cada una, de modo que la de más capacidad atiende a más "
    "personas."
)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the customer's table with its answer."""

    target: Target
    figure: Figure | None
    state: str

    @property
    def title(self) -> str:
        return TITLES.get(self.target.en, self.target.es)

    @property
    def wanted(self) -> str:
        """`4,8 a 7,2`."""
        return f"{spanish.number(self.target.low, 1)} a {spanish.number(self.target.high, 1)}"

    @property
    def measured(self) -> str:
        """`3,12`."""
        return "–" if self.figure is None else self.figure.ratio

    @property
    def interval(self) -> str:
        return "–" if self.figure is None else self.figure.interval


def lines(study: Study) -> list[Line]:
    """The four rows, as `bench.claims` answers them."""
    found = []
    for target in CUSTOMER:
        row = target.row(study.summary)
        found.append(Line(target, study.of(row), STATES[attainment(target, row)]))
    return found


def short_table(study: Study) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows: what the first minute needs."""
    header = ("meta del cliente", "esperaba (veces)", "medido (veces)", "intervalo 95 %", "estado")
    return header, [
        (line.title, line.wanted, line.measured, line.interval, line.state) for line in lines(study)
    ]


def full_table(study: Study) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """With the values of both versions, both runs, and the line of the annex."""
    header = (
        "meta del cliente", "V1", "V2", "esperaba", "medido", "intervalo 95 %", "cada corrida", "estado",
        "fila",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for line in lines(study):
        figure = line.figure
        if figure is None:
            rows.append((line.title, "–", "–", line.wanted, "–", "–", "–", line.state, ""))
            continue
        values = (figure.value("control"), figure.value("treatment"))
        last = (figure.runs, line.state, str(figure.at))
        rows.append((line.title, *values, line.wanted, line.measured, line.interval, *last))
    return header, rows


def same_people(study: Study) -> str:
    """The first two rows with the same people for both versions."""
    found = [
        (name, study.figure(RUNGS, measure))
        for name, measure in (("respuesta completa", END), ("primera palabra", FIRST))
    ]
    said = [f"{name}, {figure.told()}" for name, figure in found if figure is not None]
    if not said:
        return ""
    return (
        "Quien quiera saber qué notan las mismas personas al cambiar de V1 a V2 (80 % de la capacidad de "
        f"V1 para ambas): {'; '.join(said)}."
    )


def headline(study: Study) -> str:
    """The result in one sentence: title of the first slide and of the summary."""
    whole = lines(study)[0].figure
    if whole is None or not whole.is_known:
        return "Sentinel Fluido: buffers dinámicos"
    ratio = whole.row.ratio
    if whole.kind == "better":
        return (
            f"Quien vuelve recibe su respuesta {spanish.times(ratio)} veces más rápido, con la misma máquina"
        )
    if whole.kind == "worse":
        return f"Quien vuelve espera más con V2: {spanish.times(1 / ratio)} veces más lento"
    return "Para quien vuelve, en esta corrida V2 no resultó demostradamente más rápido"
