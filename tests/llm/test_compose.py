"""What is sent: the policy for models that think, windows that were learned, and their unlearning."""

from dataclasses import replace

import pytest

from fluido.llm import Call, Kind, Message, Options, Presets, PromptTooLong
from fluido.llm._engine import EngineFacts
from fluido.llm.prompt._budget import Budget
from fluido.llm.prompt._compose import BELIEVED_ANSWERS, Composer

FACTS = EngineFacts("e", "openai", "m", None, 0, "1")
POLICY = Presets({Kind.SHORT: Options(num_predict=256)})
LONG = Call(
    (Message("system", "s"), *(Message(("user", "assistant")[n % 2], f"{n:<99}.") for n in range(41))),
    conversation="c",
)


def composer() -> Composer:
    return Composer(POLICY, Budget())


def refused(prompt_tokens: int = 0, context_tokens: int = 0) -> PromptTooLong:
    return PromptTooLong("too long", prompt_tokens=prompt_tokens, context_tokens=context_tokens)


def test_thoughts_raise_the_policys_bound_declared_or_seen() -> None:
    ours = composer()
    call = Call((Message("user", "q"),))
    assert ours.compose(call, Kind.SHORT, FACTS).call.options.num_predict == 256
    assert ours.compose(call, Kind.SHORT, replace(FACTS, thinks=True)).call.options.num_predict == 2048
    ours.thought(ours.compose(call, Kind.SHORT, FACTS), FACTS)
    assert ours.compose(call, Kind.SHORT, FACTS).call.options.num_predict == 2048
    assert ours.compose(replace(call, think=False), Kind.SHORT, FACTS).call.options.num_predict == 256
    assert ours.compose(replace(call, model="other"), Kind.SHORT, FACTS).call.options.num_predict == 256
    mine = replace(call, options=Options(num_predict=7))
    assert ours.compose(mine, Kind.SHORT, FACTS).call.options.num_predict == 7


@pytest.mark.parametrize(("prompt", "window"), [(1500, 1000), (0, 1000), (1500, 0), (0, 0)])
def test_a_refusal_makes_the_next_prompt_shorter_whatever_it_told(prompt: int, window: int) -> None:
    ours = composer()
    first = ours.compose(LONG, Kind.SHORT, FACTS)
    assert first.dropped == 0
    ours.outgrown(first, refused(prompt, window), FACTS)
    second = ours.compose(LONG, Kind.SHORT, FACTS)
    assert second.dropped > 0
    assert ours.window(LONG, FACTS) == (window or (1200 if prompt else ours.window(LONG, FACTS)))


def test_a_window_that_was_learned_is_tried_again() -> None:
    """Beliefs are unlearned: a server that is restarted with a larger window is found out."""
    ours = composer()
    prompt = ours.compose(LONG, Kind.SHORT, FACTS)
    ours.outgrown(prompt, refused(1500, 1000), FACTS)
    assert ours.window(LONG, FACTS) == 1000
    assert ours.window(LONG, replace(FACTS, instance="after a restart")) == 0
    assert ours.window(LONG, replace(FACTS, context_tokens=4096)) == 4096
    for _ in range(BELIEVED_ANSWERS):
        ours.learn(ours.compose(LONG, Kind.SHORT, FACTS), 300, FACTS)
    assert ours.window(LONG, FACTS) == 0


def test_two_models_have_two_tokenizers() -> None:
    ours = composer()
    prompt = ours.compose(LONG, Kind.SHORT, FACTS)
    before = ours.compose(replace(LONG, model="other"), Kind.SHORT, FACTS).tokens
    for _ in range(50):
        ours.learn(prompt, 2 * prompt.tokens, FACTS)
    assert ours.compose(LONG, Kind.SHORT, FACTS).tokens == pytest.approx(2 * prompt.tokens, rel=0.1)
    assert ours.compose(replace(LONG, model="other"), Kind.SHORT, FACTS).tokens == before


def test_an_estimate_refuses_nobody_who_may_fit() -> None:
    known = replace(FACTS, context_tokens=1000)
    call = Call((Message("user", "x" * 6000),))  # 1,805 tokens by the guess
    assert composer().compose(call, Kind.SHORT, known).call.messages == call.messages
    with pytest.raises(PromptTooLong):
        composer().compose(Call((Message("user", "x" * 7000),)), Kind.SHORT, known)
    kept = composer().compose(replace(LONG, trim=False), Kind.SHORT, known)
    assert kept.dropped == 0
