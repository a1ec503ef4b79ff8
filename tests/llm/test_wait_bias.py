import pytest

from fluido.llm.admission._estimate import WaitBias


def test_the_first_wait_replaces_the_guess_and_later_ones_correct_it() -> None:
    bias = WaitBias()
    bias.learn(1.0, 10.0)
    assert bias.factor == pytest.approx(0.1)
    for _ in range(100):
        bias.learn(10.0, 10.0)
    assert bias.factor == pytest.approx(1.0, rel=0.01)


def test_it_stays_within_its_bounds_and_ignores_what_is_too_short() -> None:
    bias = WaitBias()
    bias.learn(5.0, 0.01)
    assert bias.factor == 1.0
    bias.learn(1e9, 1.0)
    assert bias.factor == 4.0
    bias = WaitBias()
    bias.learn(0.0, 1.0)
    assert bias.factor == pytest.approx(0.02)
