"""COMPARACION_FINAL_V1_V2.md: what differs in the code, what is equal, the ladder, both runs."""

from bench.report import customer, findings, results
from bench.report.code import places
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.presentation import Pictures
from bench.report.study import Study

DIFFERENCES = (
    (
        "consultas a la vez", "el pool de fábrica, 5 + 10", "cola justa con un límite que se aprende",
        ("ladder", "_pool"),
    ),
    (
        "escrituras", "una transacción por fila", "un INSERT para quienes esperan, con tope que se ajusta",
        ("_writer", "batch_cap"),
    ),
    (
        "Redis", "cliente y pool de fábrica", "una conexión compartida, una escritura por vuelta del bucle",
        ("_link",),
    ),
    (
        "lo que lee el modelo", "sistema, tres intercambios y la pregunta",
        "la conversación entera mientras el motor la recuerda", ("compose", "budget"),
    ),
    (
        "peticiones a la vez al modelo", "todas", "cola propia: límite que se aprende, plazos y rechazo",
        ("queue", "engine_limit"),
    ),
    (
        "opciones del motor", "un perfil por modelo", "lo mismo, y una petición no puede forzar una recarga",
        ("profile",),
    ),
)  # fmt: skip
"""Part, V1, V2, and the modules of V2."""

EQUAL = (
    (
        "Las mismas preguntas, de las mismas personas, en el mismo orden (salen de una semilla), y los "
        "mismos tokens de respuesta."
    ),
    (
        "Cada versión tiene su propio PostgreSQL, su propio Redis y su propio motor: ninguna aprovecha lo "
        "que otra dejó."
    ),
    "Las versiones se turnan dentro de cada ronda; el orden se sortea y el calentamiento no cuenta.",
    "Cada ronda empieza con procesos nuevos e historias nuevas, iguales para todas las versiones.",
    "V1 no usa nada de `fluido` (una prueba lo comprueba) y se sirve con la misma API que V2.",
    "La respuesta se guarda en PostgreSQL antes de darla por terminada, en las dos.",
)


def render(study: Study, pictures: Pictures) -> str:
    page = Page("Comparación final: V1 y V2")
    page.say(f"**{customer.headline(study)}.**", findings.rivals(study))
    page.say(findings.assumed(study))
    page.head("Qué cambia en el código")
    page.table(("parte", "V1", "V2", "dónde está"), [(*row[:3], places(row[3])) for row in DIFFERENCES])
    page.head("Qué es igual")
    page.items(EQUAL)
    page.say(findings.shorter(study))
    if not results.ladder(page, study, pictures):
        page.say(findings.absent("Aporte de cada mejora"))
    page.head("Medidas principales" + (", en dos corridas" if study.repeats > 1 else ""))
    page.table(*customer.full_table(study))
    page.say(findings.capacity(study))
    page.say(_agreement(study))
    page.head("Dónde no ayuda")
    page.say(
        "Lo más lento, lo igual y lo no demostrado están, por separado, en "
        "`RESULTADOS_BUFFERS_DINAMICOS.md`; cada fila, en `anexo/filas.csv`."
    )
    foot(page, study)
    return page.text()


def _agreement(study: Study) -> str:
    """Whether the second run says the same."""
    if study.repeats < 2:
        return "Hay una sola corrida: no se sabe cuánto cambiaría otra."
    pairs = [figure.each[:2] for figure in study.figures() if figure.is_known and all(figure.each[:2])]
    apart = sum(
        1
        for one, two in pairs
        if one is not None and two is not None and (one.low > two.high or two.low > one.high)
    )
    return (
        f"De {len(pairs)} medidas que están en las dos corridas, los intervalos no se tocan en {apart}. "
        "Las cifras de este documento usan las rondas de ambas."
    )
