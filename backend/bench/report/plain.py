"""The first page of each document: what was asked and what came out, for someone who does not program."""

from bench.report import spanish
from bench.report.ledger import Ledger
from bench.report.losses import losing
from bench.report.page import Page
from bench.report.rows import Row, find, ours, workloads
from bench.report.sources import Material

IDEA = (
    "Un sistema que responde preguntas con un modelo de lenguaje tiene por dentro muchas cantidades elegidas "
    "a mano: cuántas consultas a la vez llegan a la base de datos, cuántas órdenes viajan juntas, cuánta "
    "conversación se envía al modelo. Los «buffers dinámicos» reemplazan esas constantes por reglas que "
    "miden lo que ocurre y se ajustan, y que dejan escrita la razón de cada cambio."
)


def idea(page: Page) -> None:
    page.say(IDEA)


def headlines(material: Material, ledger: Ledger) -> list[str]:
    """One sentence for every workload, load and component; none is left out."""
    found = workloads(material, "end to end p50") + find(material, treatment="v2", measure="latency p50")
    return [headline(row, ledger) for row in found]


def headline(row: Row, ledger: Ledger) -> str:
    """Both absolutes, the ratio, the interval, the verdict and the losses, in one sentence."""
    one, two = (row.cite(ledger, f"{side}_value") for side in ("control", "treatment"))
    what = "la mitad de las respuestas llegó completa" if row.is_chat else "la mitad de los turnos terminó"
    text = (
        f"{spanish.sentence(row.where)}: con V1 {what} en {one} ms o menos; con V2, en {two} ms o menos. "
        f"Razón {row.cite(ledger, 'ratio', 'ratio')} (intervalo 95 %: {row.interval(ledger)}); veredicto: "
        f"{row.verdict()}"
    )
    lost = [row.lost(ledger, side) for side in ("control", "treatment")]
    return f"{text}. Sin respuesta (fallidas + rechazadas): V1 {lost[0]}, V2 {lost[1]} [{row.origin}]."


def tally(material: Material, ledger: Ledger) -> str:
    """How many verdicts of each kind V2 has, over all measures."""
    mine = ours(material.main)
    inputs = [(material.main, ("summary",))]

    def count(verdict: str) -> str:
        value = sum(row.get("verdict") == verdict for row in mine)
        return ledger.derive(value, "count", f"filas de V2 con verdict = {verdict}", inputs)

    return (
        f"De {ledger.derive(len(mine), 'count', 'filas de V2', inputs)} medidas de V2, o de una de sus "
        "piezas, contra lo que había: "
        f"mejor en {count('better')}, peor en {count('worse')}, indeciso en {count('undecided')}."
    )


def one_page(page: Page, material: Material, ledger: Ledger) -> None:
    """Idea, result, limits: readable alone."""
    page.head("En una página")
    idea(page)
    page.say(
        "Aquí se compara V1, el sistema de límites fijos, con V2, el mismo servicio con buffers dinámicos. "
        "Los dos reciben las mismas preguntas a las mismas horas, por turnos, en la misma máquina. Más de 1 "
        "favorece a V2."
    )
    page.items(headlines(material, ledger) or [spanish.NOT_MEASURED])
    page.say(tally(material, ledger), _worst(material, ledger))
    page.say(
        structure(material, ledger),
        "Ninguna de estas técnicas acelera el modelo: evitan que repita trabajo y que se le pida más de "
        "lo que puede atender a la vez.",
    )


def structure(material: Material, ledger: Ledger) -> str:
    """How much of V2's ratio is there already with nailed limits, where that was measured."""
    parts = []
    for row in workloads(material, "end to end p50"):
        where = {key: row.get(key) for key in ("experiment", "measure")}
        parts += [
            f"{row.where}: V2 fijo {fixed.cite(ledger, 'ratio', 'ratio')} y V2 "
            f"{row.cite(ledger, 'ratio', 'ratio')} ({fixed.origin} y {row.origin})"
            for fixed in find(material, treatment="fixed", level=row.value("level"), **where)
        ]
    if not parts:
        return (
            "Esta corrida no midió «V2 fijo», de modo que no separa lo que aporta la estructura (un "
            "prompt al que sólo se agrega, escrituras juntas, una conexión compartida, una cola justa) "
            "de lo que aporta adaptarse."
        )
    return (
        "«V2 fijo» tiene la estructura de V2 (un prompt al que sólo se agrega, escrituras juntas, una "
        "conexión compartida, una cola justa) con los límites clavados: lo que ya alcanza es de la "
        f"estructura y no del ajuste. Extremo a extremo p50 contra V1: {'; '.join(parts)}."
    )


def _worst(material: Material, ledger: Ledger) -> str:
    found = [row for row in losing(material) if row.get("verdict") == "worse"]
    if not found:
        return "En ninguna quedó demostrado que V2 fuera peor; las indecisas están en «Dónde no ayuda»."
    names = "; ".join(
        f"{row.name()}, {row.where} ({row.cite(ledger, 'ratio', 'ratio')}, {row.origin})" for row in found
    )
    return f"V2 es peor en: {names}."
