"""REPRODUCIR.md: two commands, what they print, seven ranges, and what to do when it differs."""

import math

from bench.catalogue import POSTGRESQL, REDIS, VISITS
from bench.report import spanish
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.study import END, FIRST, REALISTIC, TAIL, TURN, Figure, Study


def render(study: Study) -> str:
    page = Page("Reproducir los resultados")
    page.say(
        "Hace falta Linux o macOS, Python 3.11 a 3.14, `make` y red para la primera instalación. No hace "
        "falta compilador, ni servidores, ni configuración. La máquina debe estar sin otro trabajo; si no "
        "lo está, la corrida lo dice."
    )
    page.head("Comandos")
    page.code(
        "make bench-smoke     # instala y comprueba en menos de un minuto que todo funciona; no decide nada",
        "cd backend",
        "../.venv/bin/python benchmark_buffer_comparison.py           # 8 minutos: decide lo principal",
        "../.venv/bin/python benchmark_buffer_comparison.py --full    # 50 minutos: todo",
    )
    page.say(
        "Escriben `buffer_comparison_results.json`, sus muestras "
        "(`buffer_comparison_results.blocks.json.gz`) y `buffer_comparison_graphs.png` en `backend/`. Con "
        "Ctrl-C se conserva lo medido y `--resume` continúa. Los mismos experimentos, uno por uno: "
        "`python -m bench list` y `python -m bench run full --only day`. Para su propio servicio: "
        "`--external`. Con pesos reales: `--engine smollm2`; con Ollama: `--engine ollama`."
    )
    page.head("Qué se espera ver")
    page.say(
        "Una línea de avance por ronda, también con la salida redirigida; al final, en inglés, las cinco "
        "afirmaciones y las cuatro metas del cliente. La corrida de referencia se hizo con "
        f"`{study.main.command}` y estas cifras son suyas. En la misma máquina, otra corrida debería caer en "
        "el rango unas 19 de cada 20 veces: es más ancho que el intervalo porque ambas tienen error."
    )
    page.table(
        ("medida", "razón medida", "rango esperado", "fila"),
        [_row(name, figure) for name, figure in seven(study)],
    )
    if study.repeats > 1:
        page.say(_inside(study))
    page.head("Los informes")
    page.code(
        "../.venv/bin/python -m bench report --results buffer_comparison_results.json --out ../informes",
        "../.venv/bin/python -m bench report --check     # ¿los de docs/ corresponden a "
        "docs/results/reference?",
    )
    page.say(
        "`report` recalcula cada fila desde las muestras. Si el resumen de un archivo dice otra cosa, lo "
        "rechaza en una frase que nombra la fila, y termina con 2."
    )
    page.head("Si el resultado difiere")
    page.items(
        [
            (
                "Mire las notas del final: si la máquina estuvo ocupada, repita. La capacidad medida sale "
                "menor y las cargas son otras."
            ),
            "Compare las dos corridas: `python -m bench agree A.json B.json` pone sus filas lado a lado.",
            "Si el mismo código contra sí mismo (A/A) da una diferencia, las de ese tamaño no prueban nada.",
            (
                "En otra máquina cambian todos los milisegundos y la capacidad. La razón de quien vuelve "
                "depende de cuánto cuesta leer la conversación frente a escribir la respuesta: con un modelo "
                "mayor o una GPU es otra. La de las escrituras crece con lo que tarda el disco; la de Redis, "
                "si el servidor está lejos."
            ),
            "Si aun así no coincide, mándenos los dos archivos de la corrida: con ellos se rehace todo.",
        ]
    )
    foot(page, study)
    return page.text()


def seven(study: Study) -> list[tuple[str, Figure]]:
    """The ratios that another run is held to, as far as this one has them."""
    wanted = (
        ("respuesta completa p50, al 50 %", VISITS, END, 0.5),
        ("respuesta completa p50, al 80 %", VISITS, END, REALISTIC),
        ("primera palabra p50, al 80 %", VISITS, FIRST, REALISTIC),
        ("respuesta completa p95, al 80 %", VISITS, TAIL, REALISTIC),
        ("respuesta completa p50, al 100 %", VISITS, END, 1.0),
        ("PostgreSQL, una interacción", POSTGRESQL, TURN, None),
        ("Redis, una interacción", REDIS, TURN, None),
    )
    found = []
    for name, experiment, measure, level in wanted:
        figure = study.figure(experiment, measure, level=level)
        if figure is not None:
            found.append((name, figure))
    return found


def _row(name: str, figure: Figure) -> tuple[str, ...]:
    ends = expected(figure)
    return name, figure.ratio, spanish.between(*ends), str(figure.at)


def expected(figure: Figure) -> tuple[float, float]:
    """Where another run as long as the first should fall: in logarithms, the errors of both add up."""
    row = figure.each[0] or figure.row
    if not (math.isfinite(row.low) and row.low > 0):
        return math.nan, math.nan
    factor = math.exp(math.sqrt(2) * (math.log(row.high) - math.log(row.low)) / 2)
    return row.ratio / factor, row.ratio * factor


def _inside(study: Study) -> str:
    """Whether the second run kept the promise."""
    found = [(expected(figure), figure.each[1]) for _, figure in seven(study)]
    known = [(ends, row.ratio) for ends, row in found if row is not None and math.isfinite(ends[0])]
    kept = sum(low <= ratio <= high for (low, high), ratio in known)
    return f"La segunda corrida cayó dentro en {kept} de {len(known)}."
