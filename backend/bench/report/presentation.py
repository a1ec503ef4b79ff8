"""PRESENTACION_ANID: nine slides and a backup, as a document and as slides with the same text."""

from collections.abc import Mapping, Sequence

from bench.report import customer, findings, impact, spanish
from bench.report import day as days
from bench.report.origin import foot, warnings
from bench.report.page import Page
from bench.report.slides import Slide
from bench.report.study import REALISTIC, Study

Pictures = Mapping[str, tuple[str, str]]
MAIN = 9
"""Slides that are shown; the rest is for questions."""


def deck(study: Study, pictures: Pictures) -> list[Slide]:
    """The nine, then the backup: only what was measured."""
    return [*_main(study, pictures), *_backup(study, pictures)]


def _main(study: Study, pictures: Pictures) -> list[Slide]:
    return [
        Slide(
            customer.headline(study),
            lead=_compared(study),
            picture=pictures.get("customer"),
            points=() if "customer" in pictures else (findings.people(study), findings.turns(study)),
        ),
        Slide(
            "El problema: números elegidos a mano, carga que cambia",
            points=(
                (
                    "Un servicio que responde con un modelo de lenguaje tiene colas por dentro: hacia la "
                    "base de datos, hacia Redis y hacia el modelo."
                ),
                (
                    "Cuánto cabe en cada una se elige una vez y queda fijo. La carga no queda fija: a una "
                    "hora sobra máquina y a otra esperan las personas."
                ),
                (
                    "Además se repite trabajo: el modelo vuelve a leer conversaciones que ya leyó, y se le "
                    "pide a la vez más de lo que puede hacer."
                ),
                "El cliente pidió buffers que se ajusten solos y fijó cuatro metas.",
            ),
        ),
        Slide(
            "La idea: medir, decidir con una razón, obedecer",
            picture=pictures["idea"],
            points=(
                "Una **ley** recibe lo medido y devuelve un límite y la razón del cambio.",
                "La **cola** es nuestra: se ve, se ordena y se puede rechazar a tiempo.",
                "Se parte del límite que el usuario ya tenía y se vuelve a él si rinde más.",
            ),
        ),
        Slide(
            "Cómo se midió: dos versiones, por turnos, una máquina",
            picture=pictures["method"],
            points=(
                "Las mismas preguntas, de las mismas personas. Cada ronda empieza con procesos nuevos.",
                "Los intervalos salen de rondas enteras, no de peticiones sueltas.",
                "Cinco afirmaciones escritas antes de medir; solo ellas llevan veredicto.",
                (
                    "V1 es nuestra reconstrucción del sistema del cliente; «V1 ajustada», la misma con "
                    "sus mejores constantes."
                ),
            ),
        ),
        _targets(study),
        _helps(study),
        Slide(
            "Qué se adapta: un día que cambia",
            lead=days.told(study),
            picture=pictures.get("day"),
            points=() if "day" in pictures else _without_day(),
        ),
        _infrastructure(study),
        _outlook(study),
    ]


def _outlook(study: Study) -> Slide:
    return Slide(
        "Qué falta, qué se pide y cómo comprobarlo",
        columns=(
            ("Falta medir", _missing(study)),
            (
                "Se pide",
                (
                    "Repetirlo con el modelo y la máquina del cliente, con 500 personas.",
                    "Presupuesto: lo completa el cliente.",
                    "Plazo en meses: lo completa el cliente.",
                ),
            ),
            (
                "Comprobarlo",
                (
                    "Dos comandos, sin configurar nada: REPRODUCIR.md.",
                    "Los informes se escriben desde las muestras; una cifra cambiada a mano se rechaza.",
                    "Todas las filas: docs/anexo/filas.csv.",
                ),
            ),
        ),
    )


def _compared(study: Study) -> str:
    runs = "dos corridas" if study.repeats > 1 else "una corrida"
    return f"V2 (buffers dinámicos) frente a V1 (límites fijos): las cuatro metas del cliente, {runs}."


def _without_day() -> tuple[str, ...]:
    return (
        (
            "La ley compara su límite con el vecino y con el que el usuario tenía, por pares de tramos, y se "
            "queda con el que rinde más."
        ),
        (
            "En una máquina que no cambia, la ley encuentra una buena constante y nada más. Su valor está en "
            "no tener que elegirla, y en encontrarla de nuevo cuando la máquina cambia."
        ),
        "Se mide con `python -m bench run full --only day`.",
    )


def _targets(study: Study) -> Slide:
    header, rows = customer.short_table(study)
    shown = [(*row[:-1], f"{customer.LIGHTS.get(row[-1], '')} {row[-1]}".strip()) for row in rows]
    return Slide(
        "Las cuatro metas del cliente, una cifra por fila",
        lead=f"Las dos primeras, con cada versión al {spanish.percent(REALISTIC)} de su propia capacidad.",
        table=(header, *shown),
        points=(
            "Se comparan razones: los milisegundos del cliente son de su máquina y los nuestros de esta.",
            (
                "Redis es una interacción completa con el servidor. Dentro de un chat V2 además lee de su "
                "propia memoria; eso no cuenta como «Redis más rápido»."
            ),
        ),
    )


def _helps(study: Study) -> Slide:
    told = findings.chosen(study)
    columns, empty = [], []
    for kind, heading in (
        ("better", "Ayuda"), ("equal", "Igual"), ("worse", "Más lento"), ("open", "Sin demostrar"),
    ):  # fmt: skip
        lines = tuple(f"{name}: {figure.ratio}" for name, figure in told if figure.kind == kind)
        columns += [(heading, lines)] if lines else []
        empty += [] if lines else [heading.lower()]
    nothing = f" Nada de esta lista: {spanish.joined(empty)}." if empty else ""
    return Slide(
        "Dónde ayuda, dónde da igual y dónde no",
        lead=f"Razón frente a V1, salvo donde dice otra cosa; más de 1 favorece a V2.{nothing}",
        columns=tuple(columns),
    )


def _infrastructure(study: Study) -> Slide:
    header, rows = impact.capacities(study, impact.SHOWN)
    return Slide(
        "Infraestructura: lo que atiende una máquina",
        lead=findings.capacity(study, brief=True),
        table=(header, *rows) if rows else (),
        points=(
            "Servidores = carga · (1 + reserva) / capacidad; solo con capacidades que se alcanzaron.",
            f"**Límites:** {study.cores} para todo, sin GPU; sin energía, dinero ni varios servidores.",
        ),
    )


def _missing(study: Study) -> tuple[str, ...]:
    engines = {run.engine for run in study.others}
    return (
        *(["Pesos reales: " + spanish.ABSENT + "."] if "smollm2" not in engines else []),
        *(["Ollama: " + spanish.ABSENT + "."] if "ollama" not in engines else []),
        *(["El día que cambia: " + spanish.ABSENT + "."] if not study.has("day") else []),
        "El sistema real del cliente como rival.",
        "Una GPU y varios servidores a la vez.",
    )


def _backup(study: Study, pictures: Pictures) -> list[Slide]:
    made = [
        Slide(f"Respaldo: {title}", lead=lead, picture=pictures[name])
        for name, title, lead in (
            ("load", "latencia según la carga", findings.capacity(study)),
            ("ladder", "aporte de cada mejora", findings.rivals(study)),
            (
                "live",
                "conversaciones vivas",
                "¿Hasta cuántas conversaciones vivas a la vez se mantiene la mejora?",
            ),
        )
        if name in pictures
    ]
    claims = tuple(
        (str(at), claim.es, findings.told_claim(claim)[0], findings.verdict(claim))
        for at, claim in enumerate(study.claims, start=1)
    )
    made.append(
        Slide(
            "Respaldo: las cinco afirmaciones", table=(("n.º", "afirmación", "razón", "veredicto"), *claims)
        )
    )
    made.append(Slide("Respaldo: lo que debilita estas cifras", points=tuple(warnings(study))[:6]))
    return made


def render(study: Study, made: Sequence[Slide]) -> str:
    """The same deck as a document."""
    page = Page("Presentación para la ANID: buffers dinámicos")
    page.say(f"Las {MAIN} láminas y su respaldo, con el mismo texto que `PRESENTACION_ANID.pptx`.")
    for at, slide in enumerate(made, start=1):
        page.head(f"{at}. {slide.title}" if at <= MAIN else slide.title)
        page.say(slide.lead)
        if slide.picture:
            page.picture(*slide.picture)
        page.items(slide.points)
        if slide.table:
            page.table(slide.table[0], slide.table[1:])
        for heading, lines in slide.columns:
            page.say(f"**{heading}**")
            page.items(lines)
    foot(page, study)
    return page.text()
