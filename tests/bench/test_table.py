"""What the terminal shows."""

import io

from rich.console import Console

from bench.claims import claims
from bench.samples import to_document
from bench.table import show

from .builders import results


def printed(rounds: int, *, lost: int = 0) -> str:
    made = results(rounds=rounds, lost=lost)
    made.notes.append("time was up")
    output = io.StringIO()
    show(to_document(made, summary=[c.row() for c in claims(made)]), Console(file=output, width=80))
    return output.getvalue()


def test_ratios_failures_and_work_stand_beside_each_other() -> None:
    text = printed(9, lost=1)
    assert "returning users at 90% of V1's capacity" in text
    assert "0 | 0+9" in text
    assert "24.0 tokens out" in text
    assert "The customer's targets" in text
    assert "time was up." in text
    assert "commit abc" in text
    assert "…" not in text


def test_few_rounds_are_called_few() -> None:
    assert "few blocks" in printed(2)
