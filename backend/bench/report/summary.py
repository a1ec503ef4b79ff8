"""RESUMEN_BUFFERS_DINAMICOS.md: what a dynamic buffer is here, which exist, what they gave."""

from bench.claims import CUSTOMER
from bench.report import customer, losses, method, plain, spanish
from bench.report.ledger import Ledger
from bench.report.page import Page
from bench.report.sources import Material

BUFFERS = (
    (
        "consultas a la vez hacia PostgreSQL",
        "sí",
        "escalera: ¿rinde más un límite vecino?",
        "`src/fluido/laws/_ladder.py`",
    ),
    ("conexiones abiertas", "sí", "siguen a la compuerta, de a una", "`src/fluido/sqlalchemy/_follower.py`"),
    (
        "peticiones a la vez al modelo",
        "sí",
        "escalera sobre tokens por segundo, según la cola",
        "`src/fluido/laws/_engine_limit.py`",
    ),
    (
        "conversación enviada al modelo",
        "sí",
        "entera mientras el motor la recuerda; si no, recorte por pasos",
        "`src/fluido/llm/prompt/_budget.py`",
    ),
    ("tope del lote de escrituras", "sí", "el tamaño más barato por fila", "`src/fluido/laws/_batch_cap.py`"),
    (
        "filas por viaje de un cursor",
        "sí",
        "bytes por fila y tiempo de ida y vuelta",
        "`src/fluido/laws/_fetch.py`",
    ),
    ("turnos entre clases de trabajo", "sí", "costo medido de cada clase", "`src/fluido/laws/_lanes.py`"),
    (
        "ritmo del texto hacia el cliente",
        "sí",
        "sólo si el bucle se atrasa",
        "`src/fluido/laws/_stream_gap.py`",
    ),
    (
        "órdenes de Redis por escritura",
        "no, es natural",
        "lo que produjo una vuelta del bucle",
        "`src/fluido/redis/_link.py`",
    ),
    (
        "registro de telemetría",
        "no, está acotado",
        "antigüedad y memoria máximas",
        "`src/fluido/flow/_write_behind.py`",
    ),
    (
        "buffer de recepción, plazos, keep-alive",
        "no",
        "su óptimo no se mueve",
        "`backend/app/core/settings.py`",
    ),
)


def render(material: Material, ledger: Ledger) -> str:
    page = Page("Resumen: buffers dinámicos")
    method.banner(page, material, ledger)
    plain.one_page(page, material, ledger)
    page.head("Qué se adapta y qué no")
    page.say(
        "Cada pieza que se adapta es un par: una **ley**, que es aritmética pura (entra lo medido, sale un "
        "valor con su razón), y un **flujo**, que mide y obedece. Sólo se adapta lo que tiene un óptimo que "
        "se mueve. `/buffers` muestra cada valor vigente y la razón de su último cambio."
    )
    page.table(("cantidad", "¿se adapta?", "según qué", "dónde"), [list(row) for row in BUFFERS])
    page.head("Frente a la tabla del cliente")
    lines = []
    for target in CUSTOMER:
        found = customer.rows_of(target, material)
        wanted = customer.wanted(target, ledger)
        if not found:
            lines.append([customer.title(target), "", wanted, spanish.NOT_MEASURED, "", "", ""])
        lines += [
            [
                customer.title(target),
                row.where,
                wanted,
                row.cite(ledger, "ratio", "ratio"),
                row.interval(ledger),
                customer.state(target, row),
                row.origin,
            ]
            for row in found
        ]
    page.table(("fila", "dónde", "objetivo", "veces mejor", "intervalo 95 %", "estado", "origen"), lines)
    losses.section(page, material, ledger, parts=False)
    page.head("Los demás documentos")
    page.items(
        [
            "`RESULTADOS_BUFFERS_DINAMICOS.md`: todo lo medido.",
            "`COMPARACION_FINAL_V1_V2.md`: brazo contra brazo y según la carga.",
            "`ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md`: servidores, costo y energía.",
            "`REIVINDICACION_7_BUFFERS_DINAMICOS.md`: el método y su prueba.",
            "`PRESENTACION_ANID.md` y `PRESENTACION_ANID.pptx`: lo mismo en láminas.",
            "`REPRODUCIR.md`: cómo repetirlo.",
        ]
    )
    method.provenance(page, material, ledger)
    return page.text()
