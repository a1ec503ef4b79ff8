"""Two runs on one machine beside each other: every verdict of both, the differing ones first."""

from bench.agreement import agreement
from bench.report.ledger import Ledger
from bench.report.method import date_of, profile_of
from bench.report.page import Page
from bench.report.rows import Row
from bench.report.sources import Material, Source


def section(page: Page, material: Material, ledger: Ledger) -> None:
    """Two runs on one machine: do they say the same?"""
    page.head("Dos corridas")
    if material.again is None:
        page.say("No medido: se entregó una sola corrida.")
        return
    main, again = material.main, material.again
    found = agreement(main.document["summary"], again.document["summary"])
    inputs = [(main, ("summary",)), (again, ("summary",))]

    def count(value: int, formula: str) -> str:
        return ledger.derive(value, "count", formula, inputs)

    same = count(len(found.pairs) - len(found.differing), "filas con igual veredicto")
    total = count(len(found.pairs), "filas en ambas corridas")
    opposite = sum(pair.contradicts for pair in found.pairs)
    apart = count(sum(pair.overlaps is False for pair in found.pairs), "filas con intervalos disjuntos")
    page.say(
        f"La segunda, `{again.name}`, se midió en el commit `{again.commit}` el {date_of(again, ledger)}.",
        _comparable(main, again),
        f"{same} de {total} veredictos coinciden entre ambas corridas.",
        f"**{count(opposite, 'filas en que una dice mejor y la otra peor')} se contradicen.**"
        if opposite
        else "Ninguno se contradice: en ninguna fila una corrida dice «mejor» y la otra «peor».",
        f"En {apart} filas los intervalos no tienen ningún valor en común.",
    )
    alone = len(found.only_first) + len(found.only_second)
    if alone:
        page.say(f"{count(alone, 'filas en una sola corrida')} medidas están en una sola de las dos.")
    lines = [(pair, Row(main, pair.first_at), Row(again, pair.second_at)) for pair in found.pairs]
    if found.differing:
        page.head("Veredictos que no coinciden", 3)
        page.table(_TWICE, [_both(*line[1:], ledger) for line in lines if not line[0].agrees])
    page.head("Todos los veredictos de ambas corridas", 3)
    page.table(_TWICE, [_both(*line[1:], ledger) for line in lines])


_TWICE = ("medida", "dónde", "primera", "veredicto", "segunda", "veredicto", "origen")


def _both(one: Row, two: Row, ledger: Ledger) -> list[str]:
    return [
        one.name(),
        f"{one.where}, {one.pair}",
        f"{one.cite(ledger, 'ratio', 'ratio')} ({one.interval(ledger)})",
        one.verdict(),
        f"{two.cite(ledger, 'ratio', 'ratio')} ({two.interval(ledger)})",
        two.verdict(),
        f"{one.origin} y {two.origin}",
    ]


def _comparable(main: Source, again: Source) -> str:
    """Machine, code and profile: what makes two runs two of the same."""
    same = {
        "el mismo procesador": main.environment.get("cpu") == again.environment.get("cpu"),
        "el mismo número de núcleos": main.environment.get("cores") == again.environment.get("cores"),
        "el mismo commit": main.commit == again.commit,
        "el mismo perfil y motor": all(
            profile_of(main).get(key) == profile_of(again).get(key) for key in ("name", "engine")
        ),
    }
    other = [what for what, is_same in same.items() if not is_same]
    return f"**No tienen {', ni '.join(other)}**, y eso las hace menos comparables." if other else ""
