"""What the terminal shows."""

import io

from rich.console import Console

from bench.claims import claims
from bench.samples import to_document
from bench.table import customer, show

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


def test_the_customers_row_is_about_the_product_and_not_about_another_arm() -> None:
    rows = [
        {
            "experiment": "redis_turn",
            "measure": "latency p50",
            "treatment": arm,
            "ratio": ratio,
            "low": 0.9 * ratio,
            "high": 1.1 * ratio,
            "verdict": "better",
        }
        for arm, ratio in (("v1_tuned", 9.0), ("v2", 2.0))
    ]
    output = io.StringIO()
    Console(file=output, width=80).print(customer(rows))
    assert "2.00x" in output.getvalue()
    assert "9.00x" not in output.getvalue()
