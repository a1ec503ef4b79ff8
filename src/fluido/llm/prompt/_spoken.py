"""What is sent of a conversation: turns that alternate, without empty ones and without old thoughts.

A reader who left, or an engine that failed, leaves a question without an answer; the next question then
stands right behind it. The templates of Mistral, Gemma and others raise unless user and assistant take turns,
so that such a conversation could never go on (sipeed/picoclaw#207). Neighbours of one role are sent as one
message: nothing that was said is lost, and the prompt still begins as the engine holds it. The same question
asked again is sent once.
"""

from fluido.llm._call import Message
from fluido.llm.prompt._thoughts import without_thoughts

ALTERNATING = frozenset({"user", "assistant"})
BETWEEN = "\n\n"
# How both tags of thoughts end: looked for once in each answer.
TAG = "think>"


def spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages to send; `messages` itself where nothing is to be changed.

    An answer at the very end is one that the model is to continue, and stays as it is.
    """
    if _is_spoken(messages):
        return messages
    sent: list[Message] = []
    for place, message in enumerate(messages):
        if message.role == "assistant" and place < len(messages) - 1:
            content = without_thoughts(message.content)
            if not content.strip():
                continue
            if content != message.content:
                message = Message(message.role, content)  # noqa: PLW2901  (as it is sent)
        before = sent[-1] if sent else None
        if before is None or before.role != message.role or message.role not in ALTERNATING:
            sent.append(message)
        elif message.content != _last_part(before, messages, place):
            sent[-1] = Message(message.role, before.content + BETWEEN + message.content)
    return tuple(sent)


def without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The leading system messages said by the user, for templates without that role (Gemma, Mistral)."""
    head = next((place for place, message in enumerate(messages) if message.role != "system"), len(messages))
    told = Message("user", BETWEEN.join(message.content for message in messages[:head]))
    return spoken((told, *messages[head:])) if head else messages


def _last_part(before: Message, messages: tuple[Message, ...], place: int) -> str:
    """What was said last in a message that may be several by now."""
    earlier = messages[place - 1]
    return earlier.content if earlier.role == before.role else before.content


def _is_spoken(messages: tuple[Message, ...]) -> bool:
    """Whether nothing is to be changed: the usual case, found in a microsecond for each ten turns."""
    before = ""
    for message in messages:
        role, content = message.role, message.content
        if role == before and role in ALTERNATING:
            return False
        if role == "assistant" and (not content or content.isspace() or TAG in content):
            return False
        before = role
    return True
