"""Rows per block: hide the round trip, bound the bytes, survive rows that grow."""

import math

import pytest

from fluido import Sample
from fluido.laws._fetch import Block, Fetch


def block(
    law: Fetch, *, width: float = 100.0, trip_s: float = 5e-4, row_s: float = 3e-6, **more: float
) -> float:
    rows = int(law.value)
    figures = {
        "rows": rows,
        "bytes": rows * width,
        "round_trip_s": trip_s,
        "server_s": rows * row_s,
        "consume_s": rows * 5e-6,
        "consumed": rows,
    } | more
    return law.observe_block(Block(**figures)).value  # type: ignore[arg-type]


def test_the_round_trip_becomes_five_per_cent() -> None:
    law = Fetch()
    seen = [block(law) for _ in range(8)]
    assert seen[0] == 400, "four times a block at most"
    assert seen[-1] == pytest.approx(5e-4 * 19 / 3e-6, rel=0.01)


def test_bytes_bound_wide_rows() -> None:
    law = Fetch()
    for _ in range(10):
        block(law, width=20_000)
    assert law.value * 20_000 <= 2**20
    assert law.value <= law.hard_rows


def test_wide_rows_from_far_away_come_in_larger_blocks() -> None:
    """26 rows every 20 ms were 3.3 times as slow as a constant of 100."""
    law = Fetch(target_bytes=2.0**19)
    for _ in range(10):
        block(law, width=20_000, trip_s=0.020, row_s=3e-5)
    assert law.value >= 100
    assert law.value * 20_000 <= 4 * law.target_bytes
    for _ in range(10):
        block(law, width=20_000, trip_s=0.0005, row_s=3e-5)
    assert law.value * 20_000 <= law.target_bytes, "near, memory counts"


def test_rows_that_grow_halve_at_once() -> None:
    law = Fetch()
    for _ in range(10):
        block(law)
    before = law.value
    assert block(law, width=1500) <= before / 2
    for _ in range(10):
        block(law, width=10 * 2**20)
    assert law.value == 1


def test_who_stops_early_gets_half_the_second_time() -> None:
    law = Fetch()
    for _ in range(8):
        block(law)
    before = law.value
    assert block(law, consumed=10) == pytest.approx(before, rel=0.01)
    assert block(law, consumed=10) == math.floor(before / 2)


def test_out_of_memory_is_a_quarter() -> None:
    law = Fetch()
    assert law.out_of_memory().value == 25


@pytest.mark.parametrize(
    "bad", [{"bytes": math.nan}, {"rows": 0}, {"server_s": -1.0}, {"round_trip_s": math.inf}]
)
def test_nonsense_is_ignored(bad: dict[str, float]) -> None:
    law = Fetch()
    assert block(law, **bad) == 100
    assert law.observe(Sample("", 0, 1, 0, 1, 1)).value == law.tick(1.0).value == 100
    with pytest.raises(ValueError, match="target_bytes"):
        Fetch(target_bytes=math.nan)
