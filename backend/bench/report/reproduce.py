"""REPRODUCIR.md: two commands, and what to expect of them."""

import math

from bench.report import method
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.rows import Row, ours
from bench.report.sources import Material


def render(material: Material, ledger: Ledger) -> str:
    page = Page("Reproducir los resultados")
    method.banner(page, material, ledger)
    page.head("Dos órdenes")
    page.say(
        "En Linux o macOS, con Python 3.11, 3.12, 3.13 o 3.14, make y red para la primera instalación; sin "
        "compilador, sin servidores y sin configuración. Desde la carpeta del repositorio:"
    )
    page.code(
        "make bench-smoke     # instala lo fijado en requirements/ y comprueba en menos de un minuto que "
        "todo anda",
        f"cd backend && ../.venv/bin/{material.main.command}",
    )
    page.say(
        "La segunda escribe `buffer_comparison_results.json` y `buffer_comparison_graphs.png` en `backend/`. "
        "La máquina debe estar sin otro trabajo; si no lo está, la corrida lo dice en sus notas. Si se "
        "interrumpe con Ctrl-C, lo medido se conserva y `--resume` continúa."
    )
    page.say("Los documentos se escriben otra vez desde el JSON, o se comprueba que le corresponden, con:")
    page.code(
        "cd backend",
        "../.venv/bin/python -m bench report --results buffer_comparison_results.json --out ../informes",
        "../.venv/bin/python -m bench report --check     # los de docs/ contra docs/results/",
    )
    _expected(page, material, ledger)
    page.head("Qué cambia en otra máquina")
    page.items(
        [
            (
                "**Los milisegundos**, todos. Con más núcleos el motor, PostgreSQL, Redis y Sentinel "
                "dejan de disputarse el procesador; la ventaja de gastar menos CPU en Redis se nota "
                "menos en la latencia."
            ),
            (
                "**La capacidad de V1**, y con ella la carga en peticiones por segundo. La carga "
                "relativa es la misma porque se mide al empezar."
            ),
            (
                "**La razón del modelo** depende de cuánto cuesta leer el prompt frente a generar la "
                "respuesta. Con un modelo mayor o una GPU esa proporción es otra, y también la razón."
            ),
            "**El disco**: la ventaja de juntar escrituras crece con lo que tarda un commit.",
            (
                "**La red**: en otra máquina el servidor está lejos y compartir la conexión de Redis pesa "
                "distinto."
            ),
            "Un procesador virtual puede perder tiempo a manos de otros (steal): cada bloque lo registra.",
        ]
    )
    page.head("Si el resultado difiere")
    page.items(
        [
            "Si una razón cae fuera del rango esperado, mire primero las notas y los bloques con `busy`.",
            (
                "Repita: dos corridas en la misma máquina deben coincidir. `python -m bench agree A.json "
                "B.json`, en `backend/`, pone los veredictos de ambas lado a lado y dice cuáles difieren."
            ),
            (
                "Si una comparación del mismo código consigo mismo no queda indecisa, las diferencias de ese "
                "tamaño en el resto no prueban nada: mire si la máquina estaba quieta."
            ),
        ]
    )
    method.environment(page, material, ledger)
    method.provenance(page, material, ledger)
    return page.text()


def _expected(page: Page, material: Material, ledger: Ledger) -> None:
    page.head("Rangos esperados")
    page.say(
        "En la misma máquina, la razón de una segunda corrida debería caer en este rango 95 de cada 100 "
        "repeticiones. Es más ancho que el intervalo de la primera porque ambas corridas tienen error: en "
        "logaritmos, el semiancho se multiplica por la raíz de dos."
    )
    chosen = [row for row in ours(material.main) if row.get("primary")]
    page.table(
        ("medida", "dónde", "razón medida", "rango esperado", "origen"),
        [
            [row.name(), row.where, row.cite(ledger, "ratio", "ratio"), _range(row, ledger), row.origin]
            for row in chosen
        ],
    )


def _range(row: Row, ledger: Ledger) -> str:
    ratio, low, high = (row.value(key) for key in ("ratio", "low", "high"))
    if not (math.isfinite(low) and low > 0):
        return "pocos bloques"
    factor = math.exp(math.sqrt(2) * (math.log(high) - math.log(low)) / 2)
    inputs = [(row.source, row.path(key)) for key in ("ratio", "low", "high")]
    ends = [
        ledger.derive(value, "ratio", f"ratio {sign} exp(raíz(2) · ln(high/low) / 2)", inputs)
        for value, sign in ((ratio / factor, "/"), (ratio * factor, "·"))
    ]
    return f"{ends[0]} a {ends[1]}"
