"""The in-flight limit of an engine, in virtual time: against what the engine does without us, and constants.

The engine's truth is set by each cell. `NO_LIMIT` is stock: whoever comes is sent at once.
"""

import pytest

from fluido.testing.engine import EngineTruth
from fluido.testing.engine_play import NO_LIMIT, Load, Played, play

GPU = EngineTruth()
FLAT = EngineTruth(base_s=0.001, token_s=0.01, prompt_s=0.0005, slots=4, told=True)
SOFT = EngineTruth(base_s=0.008, token_s=0.012, prompt_s=0.0005, slots=4, told=True)
CROWD, EIGHT = Load(callers=32, scatter=0.3), Load(callers=8, scatter=0.3)


def best(truth: EngineTruth, load: Load, seconds: float, *limits: int) -> float:
    """Tokens a second of the best constant, in the second half."""
    return max(late(play(truth, load, seconds=seconds, limit=limit), seconds) for limit in limits)


def late(played: Played, seconds: float) -> float:
    return played.rate(seconds / 2, seconds)


@pytest.mark.parametrize(
    ("name", "truth", "load", "seconds", "constants"),
    [
        ("batches, slots unknown", GPU, CROWD, 10.0, (32,)),
        ("noisy steps", EngineTruth(noise=0.4), CROWD, 10.0, (32,)),
        ("knee at 8, unknown", EngineTruth(slots=8), CROWD, 16.0, (16,)),
        ("64 slots, told", EngineTruth(slots=64, told=True), CROWD, 8.0, (32,)),
        ("429 at 20", EngineTruth(refuse_above=20), CROWD, 12.0, (20,)),
        ("processor, flat", FLAT, EIGHT, 40.0, (1, 4)),
        ("processor, soft", SOFT, EIGHT, 40.0, (2, 4)),
        ("Ollama 1", EngineTruth(base_s=0.002, token_s=0.01, slots=1), EIGHT, 30.0, (1,)),
        ("Ollama 2", EngineTruth(base_s=0.008, token_s=0.012, slots=2), EIGHT, 40.0, (1, 2)),
        ("Ollama 4", EngineTruth(base_s=0.008, token_s=0.012, slots=4), EIGHT, 40.0, (2, 4)),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_while_a_queue_stands_it_does_as_much_as_the_best_constant(
    name: str, truth: EngineTruth, load: Load, seconds: float, constants: tuple[int, ...]
) -> None:
    """0.95 of stock from the first second on, 0.95 of the best constant in the second half."""
    ours = play(truth, load, seconds=seconds)
    stock = play(truth, load, seconds=seconds, limit=NO_LIMIT)
    assert ours.failed == 0
    first_s = min(10.0, seconds)
    assert ours.rate(0.0, first_s) >= 0.95 * stock.rate(0.0, first_s), (name, ours.decisions)
    assert late(ours, seconds) >= 0.95 * best(truth, load, seconds, *constants), (name, ours.decisions)


def test_a_constant_that_begins_at_one_would_fail_here() -> None:
    """The negative control: the law before this one began at one in flight."""
    stock = play(GPU, CROWD, seconds=4.0, limit=NO_LIMIT)
    assert play(GPU, CROWD, seconds=4.0, limit=1).rate(2.0, 4.0) < 0.1 * stock.rate(2.0, 4.0)


def test_too_many_for_the_kv_memory_are_found_to_be_too_many() -> None:
    """Stock thrashes for ever; ten answers' time later the limit is near the cliff."""
    truth, load = EngineTruth(kv_tokens=1300, thrash=4.0), Load(callers=32)
    ours, stock = play(truth, load, seconds=60.0), play(truth, load, seconds=60.0, limit=NO_LIMIT)
    assert ours.rate(30.0, 60.0) > 1.5 * stock.rate(30.0, 60.0), ours.decisions
    assert ours.rate(0.0, 10.0) >= 0.95 * stock.rate(0.0, 10.0)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_while_few_come_whole_answers_are_as_soon_as_with_the_best_constant(rate: float) -> None:
    for truth in (FLAT, SOFT):
        load = Load(rate=rate)
        warm_s = 20 / rate  # twenty answers
        times = [play(truth, load, seconds=160.0, limit=n).whole_s(warm_s) for n in (1, 2, 4, NO_LIMIT)]
        assert play(truth, load, seconds=160.0).whole_s(warm_s) <= 1.05 * min(times), (rate, times)


def test_where_answers_differ_much_in_length_nobody_is_held_back_for_nothing() -> None:
    """Behind a long answer everybody would wait: first tokens come as soon as without us."""
    load = Load(rate=0.9, scatter=1.1, answer=20)
    ours, stock = (play(FLAT, load, seconds=240.0, limit=limit) for limit in (None, NO_LIMIT))
    assert ours.first_s(share=0.75) <= 1.1 * stock.first_s(share=0.75)


def test_near_the_capacity_a_first_token_comes_as_soon_as_without_us() -> None:
    load = Load(rate=1.6)
    ours, stock = (play(SOFT, load, seconds=120.0, limit=limit) for limit in (None, NO_LIMIT))
    assert ours.first_s(30.0) <= 1.1 * stock.first_s(30.0)
    assert ours.whole_s(30.0) <= 1.1 * stock.whole_s(30.0)


def test_a_burst_on_a_batching_engine_is_let_in_at_once() -> None:
    """Light load first, so that the law has learned something, then everybody."""
    ours, stock = (
        play(GPU, Load(callers=24, think_s=3.0), seconds=20.0, limit=limit) for limit in (None, NO_LIMIT)
    )
    assert ours.first_s(share=0.9) <= 1.05 * stock.first_s(share=0.9)
    assert ours.whole_s() <= 1.05 * stock.whole_s()


def test_an_engine_that_halves_and_recovers_is_settled_in_six_seconds() -> None:
    speeds = ((6.0, 0.5), (18.0, 1.0))
    for truth, load, constant in ((GPU, CROWD, 32), (SOFT, EIGHT, 4)):
        ours = play(truth, load, seconds=30.0, speeds=speeds)
        rival = play(truth, load, seconds=30.0, speeds=speeds, limit=constant)
        for from_s, until_s in ((12.0, 18.0), (24.0, 30.0)):
            assert ours.rate(from_s, until_s) >= 0.93 * rival.rate(from_s, until_s), ours.decisions


def test_where_two_at_a_time_ruin_each_other_it_goes_to_one() -> None:
    """Returning users on a processor: what one at a time does easily drowns four at a time."""
    truth = EngineTruth(
        base_s=0.001, token_s=0.01, prompt_s=0.0003, slots=4, told=True, kv_tokens=700, thrash=1.5
    )
    load = Load(rate=0.8, prompt=600)
    ours, stock = (play(truth, load, seconds=120.0, limit=limit) for limit in (None, NO_LIMIT))
    assert ours.whole_s(60.0) < 0.2 * stock.whole_s(), ours.decisions


@pytest.mark.parametrize("seed", range(3))
def test_the_same_on_other_days(seed: int) -> None:
    load = Load(callers=8, scatter=0.8)
    ours = play(SOFT, load, seconds=40.0, seed=seed)
    rivals = [play(SOFT, load, seconds=40.0, seed=seed, limit=n) for n in (2, 4)]
    assert ours.rate(10.0, 40.0) >= 0.94 * max(rival.rate(10.0, 40.0) for rival in rivals), ours.decisions
