"""The findings as a person reads them, and the exit code a script reads."""

from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from .facts import Facts
from .findings import Finding, Severity
from .texts import FRAME, PARTS, SEVERITIES, Count, Language, mend_of, name_of, seen_of, where_of

HEALTHY, FOUND, BLIND, PARTIAL = 0, 1, 2, 3
_STYLE = {Severity.SERIOUS: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def exit_code(facts: Facts, found: list[Finding]) -> int:
    """0 when everything was looked at and nothing hurts (notes do not), 1 when something does, 2 when nothing
    could be looked at, 3 when nothing hurts in what was looked at, and that was not everything.
    """
    if facts.is_blind:
        return BLIND
    if any(finding.severity is not Severity.NOTE for finding in found):
        return FOUND
    return PARTIAL if facts.unseen else HEALTHY


def show(console: Console, facts: Facts, found: list[Finding], lang: Language) -> None:
    """One block per finding, the worst first, then what was looked at and what was not."""
    frame = FRAME[lang]
    for finding in found:
        style = _STYLE[finding.severity]
        body = Group(
            Text(seen_of(lang, finding)), Text.assemble((frame["mend"], "bold"), mend_of(lang, finding))
        )
        word = SEVERITIES[lang][finding.severity]
        where = escape(where_of(lang, finding.where))
        title = f"[{style} bold]{word}[/] {name_of(lang, finding)} · {where}"
        console.print(Panel(body, title=title, title_align="left", border_style=style))
    code = exit_code(facts, found)
    if code == BLIND:
        console.print(f"[red]{frame['blind']}[/]")
        return
    hurting = sum(finding.severity is not Severity.NOTE for finding in found)
    sentence = {
        FOUND: f"[bold]{frame['found'].format(n=Count(hurting))}[/]",
        PARTIAL: f"[yellow]{frame['partial']}[/]",
        HEALTHY: f"[green]{frame['healthy']}[/]",
    }[code]
    unseen = [PARTS[lang][part] for part in facts.unseen]
    tail = f" {frame['unseen'].format(what=', '.join(unseen))}" if unseen else ""
    console.print(f"{sentence} {frame['looked'].format(what=', '.join(_looked(facts, lang)))}{tail}")


def _looked(facts: Facts, lang: Language) -> list[str]:
    names = [replica.url for replica in facts.replicas]
    names += [PARTS[lang]["postgresql"]] if facts.postgres is not None else []
    names += [PARTS[lang]["redis"]] if facts.redis is not None else []
    return names + [f"{PARTS[lang]['engine']} {engine.name}" for engine in facts.engines]
