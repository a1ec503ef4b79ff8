"""What the terminal shows."""

import io

from rich.console import Console

from bench.claims import document
from bench.table import show

from .builders import results, whole_run


def shown(told: object) -> str:
    output = io.StringIO()
    show(told, Console(file=output, width=100))  # type: ignore[arg-type]  # a document
    return output.getvalue()


def test_ratios_claims_capacities_and_shortened_histories_stand_beside_each_other() -> None:
    said = shown(document(whole_run(5)))
    assert "The five claims" in said
    assert "The customer's targets" in said
    assert "Capacity, V2: 2" in said
    assert "saw less history than V1's" in said
    assert "Faults: rounds 1, acknowledged 400, lost 0" in said
    assert said.index("Note: a note") < said.index("The five claims")


def test_few_rounds_are_called_short_and_claim_nothing() -> None:
    said = shown(document(results(rounds=2, claims=())))
    assert "too short" in said
    assert "better" not in said.replace("better than", "")
    assert "not in this" in said
