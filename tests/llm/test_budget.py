from itertools import pairwise

import pytest

from fluido.llm._call import Message
from fluido.llm._errors import PromptTooLong
from fluido.llm.prompt._budget import Budget, TokenEstimate


def history(turns: int, chars: int = 100) -> tuple[Message, ...]:
    messages = [Message("system", "s" * 100)]
    for turn in range(turns):
        messages.append(Message("user", f"{turn}u".ljust(chars, ".")))
        messages.append(Message("assistant", f"{turn}a".ljust(chars, ".")))
    return (*messages, Message("user", f"{turns}u".ljust(chars, ".")))


def fit(budget: Budget, messages: tuple[Message, ...], window: int = 1000, **more):
    arguments = {"conversation": "c", "output_tokens": 100, "estimate": TokenEstimate()}
    return budget.fit(messages, window_tokens=window, **{**arguments, **more})


def test_what_fits_is_sent_whole() -> None:
    fitted = fit(Budget(), history(3))
    assert fitted.messages == history(3)
    assert fitted.dropped == 0


def test_an_unknown_window_cuts_nothing() -> None:
    assert fit(Budget(), history(100), window=0).messages == history(100)


def test_the_cut_stays_for_many_turns_and_then_jumps() -> None:
    budget, cuts, longest = Budget(), [], 0
    for turn in range(60):
        fitted = fit(budget, history(turn))
        assert fitted.messages[0].role == "system"
        assert fitted.messages[1].role == "user"
        assert fitted.messages[-1] == history(turn)[-1]
        cuts.append(fitted.dropped)
        longest = max(longest, fitted.tokens)
    changes = sum(a != b for a, b in pairwise(cuts))
    assert longest <= 900
    assert cuts[-1] > 0
    assert changes <= 60 / 3, "a window that slides with every turn moves the prefix with every turn"


def test_between_two_cuts_the_prompt_only_grows() -> None:
    budget = Budget()
    before: tuple[Message, ...] = ()
    prefix_kept = 0
    for turn in range(40):
        sent = fit(budget, history(turn)).messages
        prefix_kept += sent[: len(before)] == before
        before = sent
    assert prefix_kept >= 30


def test_a_rewritten_history_starts_over() -> None:
    budget = Budget()
    assert fit(budget, history(30)).dropped > 0
    other = (Message("system", "s"), Message("user", "hello"))
    assert fit(budget, other).messages == other
    assert len(budget) == 0


def test_a_lower_base_is_appended_to_until_the_next_one() -> None:
    budget = Budget()
    first = fit(budget, history(10), window=4000, base_tokens=290)
    assert first.tokens <= 290 + 5
    grown = fit(budget, history(11), window=4000)
    assert grown.messages[: len(first.messages)] == first.messages


def test_no_fewer_than_the_last_three_exchanges_are_sent_unless_the_window_forces_it() -> None:
    """A plain sliding window sends so many: nobody may get less of the past than with it."""
    whole = history(20)
    for more in ({"base_tokens": 40}, {"comfort_tokens": 60}, {}):
        kept = fit(Budget(), whole, window=500, **more).messages
        assert kept[1:] == whole[-7:], more
    kept = fit(Budget(), whole, window=200).messages
    assert 1 < len(kept) < 8


def test_comfort_cuts_earlier_and_the_cut_stays() -> None:
    budget = Budget()
    assert fit(budget, history(10), window=4000).dropped == 0
    first = fit(budget, history(11), window=4000, comfort_tokens=600)
    assert first.dropped > 0
    assert first.messages[1:] == history(11)[-7:]
    grown = fit(budget, history(12), window=4000)
    assert grown.messages[: len(first.messages)] == first.messages


def test_both_numbers_are_told_when_it_cannot_fit() -> None:
    huge = (Message("user", "x" * 10_000),)
    with pytest.raises(PromptTooLong) as caught:
        fit(Budget(), huge)
    assert caught.value.prompt_tokens > 2000
    assert caught.value.context_tokens == 1000
    with pytest.raises(PromptTooLong):
        fit(Budget(), history(40), trim=False)


def test_conversations_remembered_are_bounded() -> None:
    budget = Budget(max_conversations=3)
    for number in range(10):
        fit(budget, history(40), conversation=str(number))
    assert len(budget) == 3


def test_the_estimate_follows_what_is_measured_in_steps() -> None:
    estimate = TokenEstimate()
    messages = (Message("user", "x" * 1000),)
    for _ in range(100):
        estimate.learn(messages, 505)
    assert estimate.tokens_per_char == pytest.approx(0.5, rel=0.06)
    before = estimate.tokens_per_char
    estimate.learn(messages, 510)
    assert estimate.tokens_per_char == before


def test_a_budget_checks_its_marks() -> None:
    with pytest.raises(ValueError, match="low"):
        Budget(high=0.5, low=0.6)


def test_a_script_is_guessed_by_its_bytes_and_learned_apart() -> None:
    estimate = TokenEstimate()
    english, chinese = (Message("user", "x" * 1000),), (Message("user", "\u4f60" * 1000),)
    assert estimate.of_all(chinese) == pytest.approx(1500, rel=0.01)
    for _ in range(60):
        estimate.learn(chinese, 705)
        estimate.learn(english, 250)
    assert estimate.of_all(chinese) == pytest.approx(705, rel=0.1)
    assert estimate.of_all(english) == pytest.approx(250, rel=0.1)


def test_a_long_text_corrects_the_guess_at_once_and_a_short_one_little() -> None:
    estimate = TokenEstimate()
    estimate.learn((Message("user", "x" * 50),), 65)  # 1.2 a character
    assert estimate.tokens_per_char < 0.4
    estimate.learn((Message("user", "x" * 20_000),), 3005)
    assert estimate.tokens_per_char == pytest.approx(0.15, rel=0.1)


def test_half_a_character_is_weighed_too() -> None:
    assert TokenEstimate().of(Message("user", "\ud83d")) > 5
