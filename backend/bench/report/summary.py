"""RESUMEN_BUFFERS_DINAMICOS.md: one page."""

from bench.catalogue import VISITS
from bench.report import customer, findings, spanish
from bench.report import day as days
from bench.report.origin import foot
from bench.report.page import Page
from bench.report.presentation import Pictures
from bench.report.study import END, REALISTIC, Study


def render(study: Study, pictures: Pictures) -> str:
    page = Page(f"Resumen. {customer.headline(study)}")
    runs = "en dos corridas" if study.repeats > 1 else "en una corrida"
    page.say(
        f"Dos versiones del mismo chat, por turnos, en la misma máquina, {runs}: V1, de límites fijos "
        "(nuestra reconstrucción), y V2, que ajusta los suyos."
    )
    if "customer" in pictures:
        page.picture(*pictures["customer"])
    page.items(
        [
            findings.people(study, brief=True),
            findings.capacity(study, brief=True),
            findings.turns(study, brief=True),
            days.told(study),
            findings.faults(study),
        ],
        numbered=True,
    )
    header, rows = customer.short_table(study)
    page.table(header, rows)
    page.say(
        f"**Límites.** (1) {_weights(study)} (2) {study.cores}, sin GPU: valen las razones, no "
        f"los milisegundos. (3) {_structure(study)}"
    )
    foot(page, study, brief=True)
    return page.text()


def _weights(study: Study) -> str:
    if study.others:
        names = spanish.joined([spanish.engine(run.engine) for run in study.others])
        return f"El modelo es sintético: sirve para tiempos, no para calidad; con {names}, pocas medidas."
    return "El modelo es sintético: sirve para tiempos, no para calidad; falta uno real, y Ollama."


def _structure(study: Study) -> str:
    found = study.figure(VISITS, END, level=REALISTIC, control="v2_constants")
    if found is None:
        return f"Cuánto es de estructura y cuánto de ajuste: {spanish.ABSENT}."
    return f"Contra su misma estructura con buenas constantes, sin ajustar nada: {found.told()}."
