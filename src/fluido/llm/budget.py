"""What of a history is sent: everything while it fits, then trimmed in steps so that the prefix stays.

An engine reuses what it computed only while the prompt begins with the same tokens. A window that slides with
every turn moves that beginning with every turn; so when a history reaches `high` of the window it is cut once
to `low` of it, and the cut then stays for many turns. A turn costs attention to what is kept, and its share
of the next cut: low cuts are computed again quickly, and seldom. Engines that cut by themselves drop one
message a turn: each a full prefill.
"""

from collections import OrderedDict
from dataclasses import dataclass

from fluido.llm.call import Message
from fluido.llm.errors import PromptTooLong

HIGH = 0.9
LOW = 0.4
MESSAGE_OVERHEAD_TOKENS = 5
FIRST_TOKENS_PER_CHAR = 0.3
RATIO_STEP = 0.05
LEARN_SHARE = 0.1


class TokenEstimate:
    """Tokens from characters, corrected by the prompt lengths that an engine measured. One per model.

    The correction is applied in steps of 5 %: a cut that moved with every small correction would lose the
    prefix.
    """

    __slots__ = ("_in_force", "_measured")

    def __init__(self) -> None:
        self._measured = FIRST_TOKENS_PER_CHAR
        self._in_force = FIRST_TOKENS_PER_CHAR

    @property
    def tokens_per_char(self) -> float:
        """The ratio in force."""
        return self._in_force

    def of(self, message: Message) -> int:
        """The tokens of one message with its markers, estimated."""
        return MESSAGE_OVERHEAD_TOKENS + int(len(message.content) * self._in_force + 0.999)

    def of_all(self, messages: tuple[Message, ...]) -> int:
        """The tokens of a whole prompt, estimated."""
        return sum(self.of(message) for message in messages)

    def learn(self, messages: tuple[Message, ...], prompt_tokens: int) -> None:
        """The engine counted `prompt_tokens` in `messages`."""
        ratio = _tokens_per_char(messages, prompt_tokens)
        if ratio is None:
            return
        self._measured += LEARN_SHARE * (ratio - self._measured)
        if abs(self._measured - self._in_force) > RATIO_STEP * self._in_force:
            self._in_force = self._measured

    def outgrown(self, messages: tuple[Message, ...], prompt_tokens: int) -> None:
        """The engine refused `messages` as too long: believe its count at once, it errs on our safe side."""
        ratio = _tokens_per_char(messages, prompt_tokens)
        if ratio is not None and ratio > self._in_force:
            self._measured = self._in_force = ratio


def _tokens_per_char(messages: tuple[Message, ...], prompt_tokens: int) -> float | None:
    chars = sum(len(message.content) for message in messages)
    text_tokens = prompt_tokens - MESSAGE_OVERHEAD_TOKENS * len(messages)
    return min(2.0, text_tokens / chars) if chars >= 40 and text_tokens > 0 else None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is to be sent.

    `dropped` messages were left out after the system prompt; `tokens` is an estimate.
    """

    messages: tuple[Message, ...]
    dropped: int
    tokens: int


class Budget:
    """Remembers where each conversation was cut.

    At most `max_conversations` of them, the least used forgotten.
    """

    def __init__(
        self,
        *,
        high: float = HIGH,
        low: float = LOW,
        max_conversations: int = 10_000,
    ) -> None:
        if not 0 < low < high <= 1:
            raise ValueError(f"0 < low < high <= 1, not low={low}, high={high}")
        self._high = high
        self._low = low
        self._max_conversations = max_conversations
        self._cuts: OrderedDict[str, int] = OrderedDict()  # conversation -> hash of its first kept message

    def __len__(self) -> int:
        return len(self._cuts)

    def fit(
        self,
        messages: tuple[Message, ...],
        *,
        conversation: str,
        window_tokens: int,
        output_tokens: int,
        estimate: TokenEstimate,
        trim: bool = True,
        base_tokens: int | None = None,
        comfort_tokens: int | None = None,
    ) -> Fitted:
        """Choose what is sent of `messages`: leading system messages always, of the rest the newest that fit.

        `window_tokens` is the engine's window (0: unknown, nothing is cut), of which `output_tokens` stay
        free for the answer, at most half. `base_tokens` cuts lower *now*, because nothing of this history is
        resident; later turns are appended to that. `comfort_tokens` stands in for the window where a longer
        prompt would fit and cost others too much. Raises PromptTooLong when even the last message does not
        fit, or when something would have to be left out and `trim` is off.
        """
        tokens = [estimate.of(message) for message in messages]
        if window_tokens <= 0:
            return Fitted(messages, 0, sum(tokens))
        room = window_tokens - min(output_tokens, window_tokens // 2)
        head = _system_messages(messages)
        fixed = sum(tokens[:head])
        body = tokens[head:]
        first = self._remembered(messages, head, conversation) if conversation else 0
        size = fixed + sum(body[first:])
        aim = room if comfort_tokens is None else min(room, comfort_tokens)
        limit = self._high * aim
        if base_tokens is not None and size > max(base_tokens, fixed):
            first, size = _cut(body, first, size, max(float(base_tokens), fixed + 1.0))
        elif size > limit:
            first, size = _cut(body, first, size, self._low * aim)
        while 0 < first < len(body) - 1 and messages[head + first].role != "user":
            size -= body[first]  # a history that opens with an answer confuses small models
            first += 1
        if first and not trim:
            raise PromptTooLong(
                f"the prompt has about {sum(tokens)} tokens, the model's window takes {room}",
                prompt_tokens=sum(tokens),
                context_tokens=room,
            )
        if size > room:
            raise PromptTooLong(
                f"the last message alone has about {size - fixed} tokens, the window takes {room - fixed}",
                prompt_tokens=size,
                context_tokens=room,
            )
        if conversation:
            self._remember(messages, head, first, conversation)
        return Fitted(messages[:head] + messages[head + first :], first, size)

    def _remembered(self, messages: tuple[Message, ...], head: int, conversation: str) -> int:
        cut = self._cuts.get(conversation)
        if cut is None:
            return 0
        self._cuts.move_to_end(conversation)
        for index, message in enumerate(messages[head:]):
            if hash(message) == cut:
                return index
        return 0  # the history was rewritten: start over

    def _remember(self, messages: tuple[Message, ...], head: int, first: int, conversation: str) -> None:
        if not first:
            self._cuts.pop(conversation, None)
            return
        self._cuts[conversation] = hash(messages[head + first])
        self._cuts.move_to_end(conversation)
        if len(self._cuts) > self._max_conversations:
            self._cuts.popitem(last=False)


def _system_messages(messages: tuple[Message, ...]) -> int:
    count = 0
    while count < len(messages) and messages[count].role == "system":
        count += 1
    return count


def _cut(body: list[int], first: int, size: int, target: float) -> tuple[int, int]:
    """Drop from the front until `target` is met; the last message always stays."""
    while size > target and first < len(body) - 1:
        size -= body[first]
        first += 1
    return first, size
