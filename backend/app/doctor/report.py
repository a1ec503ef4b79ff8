"""The findings as a person reads them, and the exit code a script reads."""

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from .facts import Facts
from .findings import Finding, Severity

HEALTHY, FOUND, BLIND = 0, 1, 2
_STYLE = {Severity.SERIOUS: "red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def exit_code(facts: Facts, found: list[Finding]) -> int:
    """0 when nothing hurts (notes do not), 1 when something does, 2 when nothing could be looked at."""
    if facts.is_blind:
        return BLIND
    return FOUND if any(finding.severity is not Severity.NOTE for finding in found) else HEALTHY


def show(console: Console, facts: Facts, found: list[Finding]) -> None:
    """One block per finding, the worst first, then what was looked at."""
    for finding in found:
        style = _STYLE[finding.severity]
        body = Group(Text(finding.seen), Text.assemble(("Remedio: ", "bold"), finding.mend))
        title = f"[{style} bold]{finding.severity.value.upper()}[/] {finding.code} · {finding.where}"
        console.print(Panel(body, title=title, title_align="left", border_style=style))
    hurting = sum(finding.severity is not Severity.NOTE for finding in found)
    looked = [replica.url for replica in facts.replicas]
    looked += [
        name
        for name, fact in (("PostgreSQL", facts.postgres), ("Redis", facts.redis), ("motor", facts.engine))
        if fact is not None
    ]
    if facts.is_blind:
        console.print("[red]No se pudo mirar nada:[/] da DATABASE_URL, REDIS_URL, OLLAMA_URL o --replica.")
    elif hurting:
        console.print(f"[bold]{hurting}[/] hallazgos. Se miró: {', '.join(looked)}.")
    else:
        console.print(f"[green]Todo bien.[/] Se miró: {', '.join(looked)}.")
