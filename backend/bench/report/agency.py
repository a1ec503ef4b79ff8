"""PRESENTACION_ANID: the deck for the agency, as a document and as slides with the same figures."""

from collections.abc import Sequence

from bench.claims import CUSTOMER, Target
from bench.report import customer, method, plain, spanish
from bench.report.capacity import capacities
from bench.report.ledger import Ledger
from bench.report.losses import losing, main_ones
from bench.report.page import Page
from bench.report.rows import Contest, Row, contests, ours, rows
from bench.report.slides import Slide
from bench.report.sources import Material

STOCK = {"redis-py", "SQLAlchemy", "V1 (5+10)", "autocommit", "SQLAlchemy stream", "no lanes"}
SHORT = ("dónde", "V1 (ms)", "V2 (ms)", "veces mejor", "intervalo 95 %", "objetivo", "estado", "origen")
LOST = ("dónde", "V1: fallidas + rechazadas", "V2: fallidas + rechazadas", "origen")


def deck(material: Material, ledger: Ledger, pictures: Sequence[tuple[str, str]]) -> list[Slide]:
    main = material.main
    made = [
        Slide(
            "Sentinel Fluido: buffers dinámicos",
            (
                "Presentación para la Agencia Nacional de Investigación y Desarrollo (ANID).",
                "Qué se construyó, qué se midió, qué salió y dónde no ayuda.",
                f"Cifras de `{main.name}`, commit `{main.commit}`, orden `{main.command}`.",
            ),
        ),
        Slide(
            "El problema",
            (
                (
                    "Un servicio que responde con un modelo de lenguaje se apoya en una base de datos, una "
                    "memoria rápida y el motor del modelo. Entre ellos hay colas, lotes y ventanas."
                ),
                (
                    "Su tamaño se elige a mano y queda fijo. La carga no queda fija: o se desperdicia "
                    "máquina, o las personas esperan."
                ),
                "Además, parte del trabajo se repite: el modelo vuelve a leer conversaciones que ya leyó.",
            ),
        ),
        Slide("La propuesta", (plain.IDEA, *_proposal())),
        Slide("Cómo se midió", _how(material)),
    ]
    made += [_target(target, material, ledger) for target in CUSTOMER]
    made += [Slide(alternative, (), (), (alternative, path)) for alternative, path in pictures]
    made += [
        _lost(material, ledger),
        _components(material, ledger),
        _not_helping(material, ledger),
        _servers(material, ledger),
        Slide("Límites de esta evidencia", _limits(material, ledger)),
        Slide(
            "Cómo comprobarlo",
            (
                "Dos órdenes, sin configuración: `REPRODUCIR.md`.",
                (
                    "Cada número de estas láminas lleva su origen: R12 es la fila 12 de `summary` en el "
                    "archivo de resultados. `traza_informes.json` los lista todos."
                ),
                "Los documentos se generan desde el JSON; una prueba falla si no le corresponden.",
                f"Huella SHA-256 del archivo: `{main.digest}`.",
            ),
        ),
    ]
    return made


def _proposal() -> tuple[str, ...]:
    return (
        "Una ley es aritmética pura: entra lo medido, sale un valor con su razón. Un flujo mide y obedece.",
        "La misma ley corre en el simulador, en modo sombra y en producción.",
        "Sólo se adapta lo que tiene un óptimo que se mueve; lo demás queda fijo y dicho.",
    )


def _how(material: Material) -> tuple[str, ...]:
    return (
        (
            "V1 (límites fijos, hecho con cuidado) y V2 (buffers dinámicos) reciben las mismas "
            "peticiones a las mismas horas, por turnos, en la misma máquina, con PostgreSQL, Redis y "
            "motor propios."
        ),
        (
            "Se cuentan latencias desde que la petición debía salir, y junto a ellas las que no tuvieron "
            "respuesta."
        ),
        "Razones pareadas por bloque, intervalos por remuestreo de bloques, corrección de Holm.",
        *(plain_warning for plain_warning in method.warnings(material)[:3]),
    )


def _target(target: Target, material: Material, ledger: Ledger) -> Slide:
    found = customer.rows_of(target, material)
    before = ledger.state(spanish.number(target.before_ms, "count"), "bench.claims.CUSTOMER")
    hoped = ledger.state(customer.HOPED_MS.get(target.title, spanish.NOT_MEASURED), "la tabla del cliente")
    points = (
        (
            f"Cliente: {before} ms; objetivo {hoped} ms, {customer.wanted(target, ledger)} veces mejor. "
            "Abajo, lo medido aquí, en cada carga."
        ),
    )
    if not found:
        return Slide(customer.title(target), (*points, "No medido en esta corrida."))
    lines = [
        (
            row.where,
            row.cite(ledger, "control_value"),
            row.cite(ledger, "treatment_value"),
            row.cite(ledger, "ratio", "ratio"),
            row.interval(ledger),
            customer.wanted(target, ledger),
            customer.state(target, row),
            row.origin,
        )
        for row in found
    ]
    return Slide(customer.title(target), points, (SHORT, *lines))


def _lost(material: Material, ledger: Ledger) -> Slide:
    """Failures and refusals, once a workload and load."""
    shown: dict[tuple[str, float], Row] = {}
    for target in CUSTOMER:
        for row in customer.rows_of(target, material):
            shown.setdefault(row.key, row)
    lines = [
        (row.where, row.lost(ledger, "control"), row.lost(ledger, "treatment"), row.origin)
        for row in shown.values()
    ]
    points = ("Una latencia no vale nada sin esto: quien falla pronto parece rápido.",)
    return Slide("Peticiones sin respuesta", points, (LOST, *lines) if lines else ())


def _components(material: Material, ledger: Ledger) -> Slide:
    """Against the stock part only; everything else is in the results document."""
    mine = [row for row in ours(material.main) if row.get("primary") and not row.is_chat]
    found = [c for source in material.parts for c in contests(source) if c.other in STOCK and _is_main(c)]
    if not found and not mine:
        return Slide("Componentes por separado", ("No medido en esta corrida ni en otras entregadas.",))
    lines = [
        (
            row.where,
            spanish.measure(row.get("measure")),
            spanish.arm(row.get("control")),
            row.cite(ledger, "ratio", "ratio"),
            row.interval(ledger),
            row.verdict(),
            row.origin,
        )
        for row in mine
    ]
    lines += [
        (
            contest.scene,
            spanish.metric(contest.metric),
            spanish.contender(contest.other),
            contest.number(ledger, "ratio"),
            contest.interval(ledger),
            contest.verdict,
            contest.origin,
        )
        for contest in found
    ]
    header = ("caso", "medida", "contra", "veces mejor", "intervalo 95 %", "veredicto", "origen")
    points = (
        (
            "Los de origen R, de esta corrida; los demás, de otras, cada una con su commit. El resto, en "
            "RESULTADOS_BUFFERS_DINAMICOS.md."
        ),
    )
    return Slide("Componentes por separado", points, (header, *lines))


def _is_main(contest: Contest) -> bool:
    return contest.metric in {"llamadas por segundo", "wait p99 ms", "rows/s", "p99 ms", "p50 us", "calls/s"}


def _not_helping(material: Material, ledger: Ledger) -> Slide:
    lines = [
        (
            row.name(),
            row.where,
            row.cite(ledger, "ratio", "ratio"),
            row.interval(ledger),
            row.verdict(),
            row.origin,
        )
        for row in main_ones(losing(material))
    ]
    header = ("medida", "dónde", "veces mejor", "intervalo 95 %", "veredicto", "origen")
    points = (
        (
            "Medidas principales en que V2 o una pieza suya no quedó «mejor», y toda aquella cuyo "
            "intervalo queda por debajo de 1. La lista completa: RESULTADOS_BUFFERS_DINAMICOS.md."
        ),
    )
    return Slide("Dónde no ayuda", points, (header, *lines) if lines else ())


def _servers(material: Material, ledger: Ledger) -> Slide:
    lines = [
        (
            spanish.experiment(found.experiment),
            found.cite(ledger, "one"),
            found.cite(ledger, "two"),
            found.two.cite(ledger, "ratio", "ratio"),
            found.two.interval(ledger),
            "sí" if found.is_shown else "no se afirma",
            found.two.origin,
        )
        for found in capacities(material)
    ]
    header = (
        "carga de trabajo",
        "V1 (resp./s)",
        "V2 (resp./s)",
        "razón",
        "intervalo 95 %",
        "ahorro",
        "origen",
    )
    points = (
        "Servidores = techo(carga · (1 + reserva) / respuestas por segundo dentro del plazo).",
        (
            "Sólo se afirma un ahorro donde V2 da más respuestas a tiempo y el veredicto es «mejor». "
            "Supuestos, costo y energía: ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md."
        ),
    )
    return Slide("Impacto en la infraestructura", points, (header, *lines) if lines else ())


def _limits(material: Material, ledger: Ledger) -> tuple[str, ...]:
    arms = {row.get("treatment") for row in rows(material.main)}
    missing = [spanish.arm(name) for name in ("v1_tuned", "fixed", "v1_again") if name not in arms]
    return (
        "Una máquina virtual pequeña, compartida por todas las partes; sin GPU.",
        "Los milisegundos son de esta máquina y de este modelo; los objetivos del cliente, de la suya.",
        plain.structure(material, ledger),
        *([f"Brazos no medidos en esta corrida: {', '.join(missing)}."] if missing else []),
        *method.warnings(material)[:4],
    )


def render(material: Material, ledger: Ledger, made: Sequence[Slide]) -> str:
    """The same deck as a document."""
    page = Page("Presentación para ANID: buffers dinámicos")
    method.banner(page, material, ledger)
    page.say("Las mismas láminas, con las mismas cifras, están en `PRESENTACION_ANID.pptx`.")
    for at, slide in enumerate(made, start=1):
        page.head(f"{at}. {slide.title}")
        page.items(slide.points)
        if slide.table:
            page.table(slide.table[0], slide.table[1:])
        if slide.picture:
            page.picture(*slide.picture)
    method.glossary(page)
    method.provenance(page, material, ledger)
    return page.text()
