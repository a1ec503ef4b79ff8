"""How the cells of a real server become a ratio: drift meets both arms, the luckiest cell is not the best."""

import pytest

from bench.laws_real import Cell, judged, settled_s


def cell(law: str, start: float, rate: float, *, kind: str = "block", bins: list[int] | None = None) -> Cell:
    return Cell("commits", kind, law, start, rate, 1.0, 30.0, bins=bins or [])


def test_the_best_static_limit_is_the_one_with_the_highest_mean_of_the_blocks() -> None:
    blocks = []
    for number, speed in enumerate((1.0, 1.1, 0.9, 1.05, 0.95)):
        lucky = 300.0 if number == 0 else 0.0
        blocks += [cell("fixed", 24, 900 * speed + lucky), cell("fixed", 50, 1000 * speed)]
        blocks.append(cell("elasticity", 8, 930 * speed))
    first = cell("elasticity", 8, 0.0, kind="cold", bins=[100] * 4 + [240] * 12)
    (found,) = judged(blocks, {8: first})
    assert found.best == 50
    assert found.comparison.ratio == pytest.approx(0.93)
    assert found.comparison.low == pytest.approx(0.93, abs=0.001), "drift that meets both widens nothing"
    assert found.settled_s == 1.0
    assert "93.0 % [93, 93] of the best static (50)" in str(found)


def test_a_law_that_never_comes_near_never_settles() -> None:
    assert settled_s(cell("elasticity", 8, 0.0, bins=[100] * 40), best=1000.0) is None
