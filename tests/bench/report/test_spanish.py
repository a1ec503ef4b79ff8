"""Numbers and names."""

import math

import pytest

from bench.report import spanish


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1570.4, "value", "1.570"),
        (58.62, "value", "58,6"),
        (0.8449, "value", "0,84"),
        (1234567.8, "count", "1.234.568"),
        (2.449, "ratio", "2,45"),
        (0.9, "share", "90 %"),
        (0.125, "share", "12,5 %"),
        (None, "ratio", "no medido"),
        (math.nan, "value", "no medido"),
        ("CPython", "words", "CPython"),
    ],
)
def test_numbers(value: object, kind: str, text: str) -> None:
    assert spanish.number(value, kind) == text


def test_names_that_nobody_translated_are_shown_as_they_are() -> None:
    assert spanish.experiment("a_new_one") == "`a_new_one`"
    assert spanish.arm("v9") == "`v9`"
    assert spanish.measure("first token p99") == "primer token p99"
    assert spanish.measure("something else") == "`something else`"
    assert spanish.cell("waiting 100 on 10") == "espera: 100 tareas, 10 conexiones"
    assert spanish.cell("unheard of") == "`unheard of`"
