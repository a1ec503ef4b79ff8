"""The window of three fragments."""

from app.services import sentinel_fluido_v2
from bench.v1.prompt import SYSTEM_PROMPT, Fragment, messages

FRAGMENTS = [Fragment(f"question {n}", f"answer {n}") for n in range(5)]


def test_the_prompt_is_system_last_three_fragments_and_question() -> None:
    sent = messages(FRAGMENTS, "now?")
    assert [message["role"] for message in sent] == ["system", *["user", "assistant"] * 3, "user"]
    assert sent[0]["content"] == SYSTEM_PROMPT
    assert sent[1]["content"] == "question 2"
    assert sent[-1]["content"] == "now?"


def test_the_window_slides_from_the_fifth_turn_on() -> None:
    assert messages(FRAGMENTS[:3], "x")[:-1] == messages(FRAGMENTS[:3], "y")[:-1]
    assert messages(FRAGMENTS[:4], "x")[1] != messages(FRAGMENTS[:3], "x")[1]


def test_both_arms_pay_for_the_same_system_prompt() -> None:
    assert SYSTEM_PROMPT == sentinel_fluido_v2.SYSTEM_PROMPT
