"""What of a history is sent: everything while it fits, then trimmed in steps so that the prefix stays.

An engine reuses what it computed only while the prompt begins with the same tokens. A window that slides with
every turn moves that beginning with every turn; so when a history reaches `high` of the window it is cut once
to `low` of it, and the cut then stays for many turns. A turn costs attention to what is kept, and its share
of the next cut: low cuts are computed again quickly, and seldom. Engines that cut by themselves drop one
message a turn: each a full prefill.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from fluido.llm._call import Message
from fluido.llm._errors import PromptTooLong

HIGH = 0.9
LOW = 0.4
# The question and the three exchanges before it, as a plain sliding window sends them: never fewer, unless
# the window of the engine forces it.
LAST_MESSAGES = 7
MESSAGE_OVERHEAD_TOKENS = 5
# Measured with SmolLM2's tokenizer (docs/results/llm): English 0.23 a character, code 0.40; Greek, Russian,
# Arabic, Hindi, Thai, Chinese and emoji 0.41 to 0.73 a byte, that is 0.9 to 2.1 a character. Larger
# vocabularies need less.
FIRST_TOKENS_PER_CHAR = 0.3
FIRST_TOKENS_PER_WIDE_BYTE = 0.5
MOST_TOKENS_PER_UNIT = 2.0
RATIO_STEP = 0.05
LEARN_SHARE = 0.1
LEAST_CHARS = 40
GUESS_UNITS = 500  # so much text is the first guess worth
# An engine that refused a prompt without a count: by so much more than the window it is taken to be.
REFUSED_WITHOUT_COUNT = 1.25
# An estimate refuses nobody unless it is over the window by so much: else the engine counts, in milliseconds.
SURELY = 2.0


class Ratio:
    """Tokens a unit of text. `in_force` moves in steps of 5 %, `measured` with every answer."""

    __slots__ = ("_units", "in_force", "measured")

    def __init__(self, guess: float) -> None:
        self.in_force = self.measured = guess
        self._units = GUESS_UNITS

    def learn(self, ratio: float, units: int) -> None:
        """So it was in a text of `units`: long texts correct the guess at once, short ones little."""
        self._units += units
        self.measured += max(units / self._units, LEARN_SHARE) * (ratio - self.measured)
        if abs(self.measured - self.in_force) > RATIO_STEP * self.in_force:
            self.in_force = self.measured

    def raise_to(self, ratio: float) -> None:
        """A refusal is believed at once: it errs on our safe side."""
        if ratio > self.in_force:
            self.in_force = self.measured = min(ratio, MOST_TOKENS_PER_UNIT)


class TokenEstimate:
    """Tokens from characters, corrected by the prompt lengths that an engine measured. One per model.

    Plain characters and the bytes of all others have a ratio each: Chinese in English would move the ratio of
    both. The corrections are applied in steps of 5 %: a cut that moved with every small correction would lose
    the prefix.
    """

    __slots__ = ("_plain", "_wide")

    def __init__(self) -> None:
        self._plain, self._wide = Ratio(FIRST_TOKENS_PER_CHAR), Ratio(FIRST_TOKENS_PER_WIDE_BYTE)

    @property
    def tokens_per_char(self) -> float:
        """The ratio in force for plain text."""
        return self._plain.in_force

    def of(self, message: Message) -> int:
        """The tokens of one message with its markers, estimated."""
        content = message.content
        if content.isascii():
            return MESSAGE_OVERHEAD_TOKENS + math.ceil(len(content) * self._plain.in_force)
        plain, wide = _units(content)
        return MESSAGE_OVERHEAD_TOKENS + math.ceil(plain * self._plain.in_force + wide * self._wide.in_force)

    def of_each(self, messages: tuple[Message, ...]) -> list[int]:
        """The tokens of each message, estimated; as `of`, and twice as fast for a long history."""
        ratio, ceil = self._plain.in_force, math.ceil
        return [
            MESSAGE_OVERHEAD_TOKENS + ceil(len(content) * ratio) if content.isascii() else self.of(message)
            for message in messages
            for content in (message.content,)
        ]

    def of_all(self, messages: tuple[Message, ...]) -> int:
        """The tokens of a whole prompt, estimated."""
        return sum(self.of(message) for message in messages)

    def learn(self, messages: tuple[Message, ...], prompt_tokens: int) -> None:
        """The engine counted `prompt_tokens` in `messages`."""
        measured = self._measured(messages, prompt_tokens)
        if measured is not None:
            ratio, value, units = measured
            ratio.learn(min(value, MOST_TOKENS_PER_UNIT), units)

    def outgrown(self, messages: tuple[Message, ...], prompt_tokens: int) -> None:
        """The engine refused `messages` as too long: believe its count at once."""
        measured = self._measured(messages, prompt_tokens)
        if measured is not None:
            ratio, value, _ = measured
            ratio.raise_to(value)

    def _measured(self, messages: tuple[Message, ...], prompt_tokens: int) -> tuple[Ratio, float, int] | None:
        """The ratio that most of the text is about, what it would have to be, and of how much text."""
        units = [_units(message.content) for message in messages]
        plain, wide = sum(unit[0] for unit in units), sum(unit[1] for unit in units)
        tokens = prompt_tokens - MESSAGE_OVERHEAD_TOKENS * len(messages)
        if plain + wide < LEAST_CHARS or tokens <= 0:
            return None
        if plain * self._plain.in_force >= wide * self._wide.in_force:
            return self._plain, max(0.0, tokens - wide * self._wide.in_force) / plain, plain
        return self._wide, max(0.0, tokens - plain * self._plain.in_force) / wide, wide


def _units(content: str) -> tuple[int, int]:
    """Plain characters, and bytes of all others in UTF-8: what tokenizers without a word for it count."""
    if content.isascii():
        return len(content), 0
    plain = len(content.encode("ascii", "ignore"))
    return plain, len(content.encode("utf-8", "surrogatepass")) - plain


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is to be sent.

    `dropped` messages were left out after the system prompt; `tokens` is an estimate.
    """

    messages: tuple[Message, ...]
    dropped: int
    tokens: int
    sizes: tuple[int, ...] = ()
    """The tokens of each message, estimated."""


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
        prompt would fit and cost others too much. The last `LAST_MESSAGES` stay wherever they fit the window.
        Raises PromptTooLong when the last message alone is far
        over the window, or when the whole is and `trim` is off.
        """
        tokens = estimate.of_each(messages)
        if window_tokens <= 0:
            return Fitted(messages, 0, sum(tokens), tuple(tokens))
        if not trim:
            return self._whole(messages, tokens, window_tokens)
        room = window_tokens - min(output_tokens, window_tokens // 2)
        head = system_messages(messages)
        fixed = sum(tokens[:head])
        body = tokens[head:]
        first = self._remembered(messages, head, conversation) if conversation else 0
        size = fixed + sum(body[first:])
        aim = room if comfort_tokens is None else min(room, comfort_tokens)
        limit = self._high * aim
        least = fixed + sum(body[first:][-LAST_MESSAGES:])
        if least > self._high * room:
            least = fixed + 1
        if base_tokens is not None and size > max(base_tokens, fixed):
            first, size = _cut(body, first, size, float(max(base_tokens, least)))
        elif size > limit:
            first, size = _cut(body, first, size, max(self._low * aim, least))
        while 0 < first < len(body) - 1 and messages[head + first].role != "user":
            size -= body[first]  # a history that opens with an answer confuses small models
            first += 1
        if size > SURELY * window_tokens:
            raise PromptTooLong(
                f"the last message alone has about {size - fixed} tokens, "
                f"the window takes {max(0, window_tokens - fixed)}",
                prompt_tokens=size,
                context_tokens=window_tokens,
            )
        if conversation:
            self._remember(messages, head, first, conversation)
        sizes = (*tokens[:head], *body[first:])
        return Fitted(messages[:head] + messages[head + first :], first, size, sizes)

    @staticmethod
    def _whole(messages: tuple[Message, ...], tokens: list[int], window_tokens: int) -> Fitted:
        size = sum(tokens)
        if size > SURELY * window_tokens:
            raise PromptTooLong(
                f"the prompt has about {size} tokens, the model's window takes {window_tokens}",
                prompt_tokens=size,
                context_tokens=window_tokens,
            )
        return Fitted(messages, 0, size, tuple(tokens))

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


def system_messages(messages: tuple[Message, ...]) -> int:
    """How many messages at the front are the system's."""
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
