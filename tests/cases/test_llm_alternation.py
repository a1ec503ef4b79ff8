"""Case 3 of llm.md: a question without an answer ends no conversation whose turns have to alternate."""

import pytest

from fluido.llm import Call, Kind, Message, Options, Presets
from fluido.llm.prompt._budget import Budget
from fluido.llm.prompt._compose import Composer
from fluido.llm.prompt._spoken import spoken

SYSTEM = Message("system", "s")


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", text)


def alternates(messages: tuple[Message, ...]) -> bool:
    """Mistral's rule: after the system prompt user and assistant take turns, and the user begins."""
    roles = [message.role for message in messages if message.role != "system"]
    return all(role == ("user", "assistant")[place % 2] for place, role in enumerate(roles))


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        ((SYSTEM, user("a"), says("b"), user("c")), None),
        ((SYSTEM, user("a"), user("b")), (SYSTEM, user("a\n\nb"))),
        ((SYSTEM, user("a"), user("a")), (SYSTEM, user("a"))),
        ((SYSTEM, user("a"), user("b"), user("b")), (SYSTEM, user("a\n\nb"))),
        ((SYSTEM, user("a"), says(""), user("b")), (SYSTEM, user("a\n\nb"))),
        ((user("a"), says("b"), says("c"), user("d")), (user("a"), says("b\n\nc"), user("d"))),
        ((user("a"), says("<think>hm</think>\n\nb"), user("c")), (user("a"), says("b"), user("c"))),
        ((user("a"), says("<think>cut off"), user("c")), (user("a\n\nc"),)),
        ((user("a"), says("thought\n</think>\n\nb"), user("c")), (user("a"), says("b"), user("c"))),
        ((user("a"), says("the tag </think> ends <think>"), user("c")), None),
        ((user("a"), says("<think>goes on")), None),
        ((SYSTEM, SYSTEM, user("a")), None),
        ((user("a"), Message("tool", "x"), Message("tool", "y"), user("b")), None),
    ],
)
def test_what_is_sent(before: tuple[Message, ...], sent: tuple[Message, ...] | None) -> None:
    assert spoken(before) == (before if sent is None else sent)
    assert spoken(spoken(before)) == spoken(before)


def test_a_conversation_goes_on_after_a_question_without_an_answer() -> None:
    composer = Composer(Presets(), Budget())
    history: list[Message] = [SYSTEM]
    kept = 0
    before = ""
    for turn in range(8):
        history.append(user(f"question {turn}"))
        call = Call(tuple(history), conversation="c", options=Options(num_predict=4))
        sent = composer.compose(call, Kind.SHORT, None).call.messages
        assert alternates(sent)
        rendered = "".join(f"<{m.role}>{m.content}" for m in sent)
        kept += rendered.startswith(before)
        before = rendered
        if turn not in {2, 3, 6}:  # there the reader left
            history.append(says(f"answer {turn}"))
    assert kept == 8, "the engine finds what it holds again in every turn"
