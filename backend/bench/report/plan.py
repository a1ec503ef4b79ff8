"""ESTADO_PLAN.md: the customer's plan, box by box."""

from bench.catalogue import VISITS
from bench.report import customer, spanish
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.study import END, FIRST, REALISTIC, V1, V2, Study


def render(study: Study) -> str:
    page = Page("Plan de integración: estado")
    rows = [
        (f"{line.title}: {line.wanted} veces", line.state, _where(line)) for line in customer.lines(study)
    ]
    rows += [
        ("«Speedup» de 7 a 10 veces (paso 3)", *_speedup(study)),
        ("Respuesta completa < 1.500 ms, primera palabra < 800 ms", *_absolute(study)),
        (
            "Banco de pruebas, JSON y gráficos",
            "cumplido",
            "`benchmark_buffer_comparison.py` y sus tres archivos, con los nombres pedidos",
        ),
        ("Prueba global", "cumplido", "`sentinel_global_benchmark.py`"),
        ("Parámetros de Ollama optimizados", *_ollama(study)),
        (
            "Resultados, comparación y reivindicación 7",
            "cumplido",
            "`RESULTADOS_…`, `COMPARACION_…`, `REIVINDICACION_7_…`",
        ),
        (
            "Impacto global",
            "en parte",
            "`ANALISIS_IMPACTO_…`: capacidad y fórmula; sin cifra mundial ni dinero, con sus razones",
        ),
        ("Presentación para la ANID", "cumplido", "`PRESENTACION_ANID.md` y `.pptx`: nueve láminas"),
        ("Evidencia reproducible", "cumplido", "`REPRODUCIR.md`: dos comandos"),
    ]
    page.table(("casilla del plan", "estado", "dónde, y qué se sabe"), rows)
    foot(page, study, brief=True)
    return page.text()


def _where(line: customer.Line) -> str:
    if line.figure is None:
        return spanish.ABSENT
    return f"{line.measured} ({line.interval}); fila {line.figure.at}"


def _speedup(study: Study) -> tuple[str, str]:
    """The plan's largest figure: against the largest that was measured, and where."""
    found = [f for f in study.figures(experiment=VISITS, measure=END, treatment=V2, control=V1) if f.is_known]
    if not found:
        return customer.ABSENT, spanish.ABSENT
    best = max(found, key=lambda figure: figure.row.ratio)
    state = (
        customer.MET if best.row.low >= 7 else customer.REACHED if best.row.ratio >= 7 else customer.MISSED
    )
    return state, f"la mayor razón de respuesta completa es {best.ratio} ({best.interval}), al {best.level}"


def _absolute(study: Study) -> tuple[str, str]:
    """Milliseconds of another machine and another model: said, and not called a success."""
    values = [study.figure(VISITS, measure, level=REALISTIC) for measure in (END, FIRST)]
    if any(value is None for value in values):
        return customer.ABSENT, spanish.ABSENT
    said = " y ".join(value.value("treatment") for value in values if value is not None)
    return (
        "no comparable",
        f"V2: {said} con el modelo de prueba; hay que medirlo con el modelo y la máquina del cliente",
    )


def _ollama(study: Study) -> tuple[str, str]:
    run = next((run for run in study.others if run.engine == "ollama"), None)
    if run is None:
        return "en parte", f"un perfil por modelo, sin recargas; con un Ollama real, {spanish.ABSENT}"
    return "medido", "un perfil por modelo, sin recargas; `RESULTADOS_BUFFERS_DINAMICOS.md`, «Motores reales»"
