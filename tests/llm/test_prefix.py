from hypothesis import given
from hypothesis import strategies as st

from fluido.llm._call import Message
from fluido.llm.prompt._prefix import Prefix

ROLES = st.sampled_from(["user", "assistant"])
MESSAGES = st.lists(st.builds(Message, ROLES, st.sampled_from("abc")), max_size=12)


def prefix(messages, seed: object = None) -> Prefix:
    return Prefix.of(tuple(messages), [len(m.content) + 5 for m in messages], seed=seed)


@given(MESSAGES, MESSAGES)
def test_shared_is_the_common_beginning(one: list[Message], two: list[Message]) -> None:
    common = 0
    while common < min(len(one), len(two)) and one[common] == two[common]:
        common += 1
    assert prefix(one).shared(prefix(two)) == common
    assert prefix(two).shared(prefix(one)) == common


def test_what_changes_the_rendered_prompt_shares_nothing() -> None:
    messages = [Message("user", "a")]
    assert prefix(messages, seed=("m", True)).shared(prefix(messages, seed=("m", False))) == 0


def test_followed_by_is_the_prefix_of_the_longer_history() -> None:
    messages = [Message("system", "s"), Message("user", "a")]
    longer = prefix(messages).followed_by(Message("assistant", "xyz"), 8)
    assert longer == prefix([*messages, Message("assistant", "xyz")])
    assert longer.head == 1
    assert longer.total_tokens == 20
