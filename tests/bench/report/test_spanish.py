"""Numbers and names."""

import math

import pytest

from bench.report import spanish


@pytest.mark.parametrize(
    ("value", "text"),
    [(1570.4, "1.570"), (58.62, "58,6"), (0.8449, "0,84"), (math.nan, "–"), (math.inf, "–")],
)
def test_numbers(value: float, text: str) -> None:
    assert spanish.number(value) == text


def test_shares_ratios_and_intervals() -> None:
    assert spanish.percent(0.125, 1) == "12,5 %"
    assert [spanish.times(value) for value in (5.44, 1.249, 24.2)] == ["5,4", "1,25", "24"]
    assert spanish.between(1.854, 3.258) == "1,85 a 3,26"
    assert spanish.between(math.nan, 2.0) == "pocas rondas"
    assert spanish.count(1234567.8) == "1.234.568"


def test_words() -> None:
    assert spanish.joined(["a", "b", "c"]) == "a, b y c"
    assert spanish.joined(["uno", "Irlanda"]) == "uno e Irlanda"
    assert spanish.arm("constant_15") == "límite fijo 15"
    assert spanish.arm("v9") == "v9"
    assert spanish.level("people", 0.8) == "80 %"
    assert spanish.level("live", 32.0) == "32 conversaciones"
    assert spanish.date("2026-11-22T19:20:44+00:00") == "22-11-2026 19:20 UTC"
    assert spanish.date("ayer") == "ayer"
