import pytest

from fluido.llm._call import Kind
from fluido.llm.admission._estimate import ContextCost, Estimate


def test_rates_follow_what_the_engine_measured(timings) -> None:
    estimate = Estimate()
    end = timings(prompt_tokens=110, cached_tokens=10, prefill_s=1.0, output_tokens=50, decode_s=1.0)
    for _ in range(100):
        estimate.learn(end, Kind.SHORT, 999)
    assert estimate.prefill_per_s == pytest.approx(100, rel=0.01)
    assert estimate.decode_per_s == pytest.approx(50, rel=0.01)
    assert estimate.cost_s(100, 50) == pytest.approx(2.0, rel=0.01)


def test_a_length_is_believed_slowly_and_never_above_the_bound(timings) -> None:
    estimate = Estimate()
    first = estimate.output_tokens(Kind.SHORT, None)
    for _ in range(200):
        estimate.learn(timings(output_tokens=10), Kind.SHORT, 10)
    assert estimate.output_tokens(Kind.SHORT, None) < first / 3
    assert estimate.output_tokens(Kind.SHORT, 4) == 4.0
    assert estimate.output_tokens(Kind.LONG, -1) > 100


def test_cached_prompts_teach_no_rate(timings) -> None:
    estimate = Estimate()
    before = estimate.prefill_per_s
    estimate.learn(timings(prompt_tokens=100, cached_tokens=99), Kind.SHORT, 5)
    assert estimate.prefill_per_s == before


def test_the_first_answers_replace_the_guess(timings) -> None:
    estimate = Estimate()
    assert estimate.is_a_guess
    end = timings(prompt_tokens=1000, cached_tokens=0, prefill_s=0.1, output_tokens=50, decode_s=0.1)
    estimate.learn(end, Kind.SHORT, 0)
    assert estimate.prefill_per_s == pytest.approx(10_000)
    assert estimate.decode_per_s == pytest.approx(500)
    for _ in range(3):
        estimate.learn(end, Kind.SHORT, 0)
    assert not estimate.is_a_guess


def test_the_context_at_which_a_token_costs_twice_as_much() -> None:
    cost = ContextCost()
    assert cost.doubled_at_tokens is None
    for turn in range(50):
        context = 300 + 40 * (turn % 30)
        cost.learn(context, 0.0005 + context * 1e-6)
    assert cost.doubled_at_tokens == pytest.approx(500, rel=0.01)


@pytest.mark.parametrize("token_s", [lambda _: 0.01, lambda context: 0.01 - context * 1e-6])
def test_a_context_that_costs_nothing_has_no_such_point(token_s) -> None:
    cost = ContextCost()
    for turn in range(50):
        context = 300 + 40 * (turn % 30)
        cost.learn(context, token_s(context))
    assert (cost.doubled_at_tokens or 1e6) > 1e5


def test_prompts_of_one_length_show_nothing() -> None:
    cost = ContextCost()
    for turn in range(50):
        cost.learn(500 + turn % 3, 0.01)
    assert cost.doubled_at_tokens is None


def test_a_call_is_not_more_work_for_being_slowed_down(timings) -> None:
    estimate = Estimate()
    alone = timings(prompt_tokens=100, cached_tokens=0, prefill_s=0.1, output_tokens=50, decode_s=0.5)
    for _ in range(20):
        estimate.learn(alone, Kind.SHORT, 0)
    before = estimate.work(alone)
    assert before == pytest.approx(100 + 50 * 10)
    beside = timings(prompt_tokens=100, cached_tokens=0, prefill_s=0.1, output_tokens=50, decode_s=2.0)
    for _ in range(20):
        estimate.learn(beside, Kind.SHORT, 0, was_alone=False)
    assert estimate.work(beside) == before
    assert estimate.decode_per_s == pytest.approx(25, rel=0.2)


def test_nobody_is_refused_for_what_small_prompts_make_of_a_long_one(timings) -> None:
    """A turn of fifteen tokens costs a call's overhead a token; a conversation that moved has hundreds."""
    estimate = Estimate()
    turn = timings(prompt_tokens=400, cached_tokens=385, prefill_s=0.06, output_tokens=8, decode_s=0.1)
    for _ in range(50):
        estimate.learn(turn, Kind.SHORT, 15)
    assert estimate.prefill_s(600) > 2.0, "4 ms a token"
    assert estimate.seen_prefill_s(600) == pytest.approx(0.12)
    assert estimate.cost_s(600, 8) == pytest.approx(0.22)
    whole = timings(prompt_tokens=600, cached_tokens=0, prefill_s=0.3, output_tokens=8, decode_s=0.1)
    estimate.learn(whole, Kind.SHORT, 600)
    assert estimate.prefill_s(600) < 0.7, "one long prompt tells more than fifty turns"
    assert estimate.seen_prefill_s(600) == pytest.approx(0.6)


def test_before_anything_was_seen_a_guess_is_a_guess() -> None:
    assert Estimate().seen_prefill_s(3000) == Estimate().prefill_s(3000) == pytest.approx(10.0)
