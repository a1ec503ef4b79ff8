"""What a prompt begins with, comparable in a few nanoseconds.

One hash per message, each over all before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fluido.llm._call import Message


@dataclass(frozen=True, slots=True)
class Prefix:
    """`chain[i]` stands for all up to message i, `tokens[i]` long; `head` messages are the system's.

    `conversation` names the history where the caller did.
    """

    chain: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    head: int = 0
    conversation: str = ""

    @classmethod
    def of(
        cls,
        messages: tuple[Message, ...],
        sizes: Sequence[int],
        *,
        seed: object = None,
        conversation: str = "",
    ) -> "Prefix":
        """The prefix of `messages` with their sizes in tokens.

        `seed` is what else changes the rendered prompt.
        """
        chain, tokens = [], []
        value, total = hash(seed), 0
        for message, size in zip(messages, sizes, strict=True):
            value = hash((value, message.role, message.content))
            total += size
            chain.append(value)
            tokens.append(total)
        head = 0
        while head < len(messages) and messages[head].role == "system":
            head += 1
        return cls(tuple(chain), tuple(tokens), head, conversation)

    def followed_by(self, message: Message, size: int) -> "Prefix":
        """This prefix with one more message: the answer that was generated."""
        last = self.chain[-1] if self.chain else hash(None)
        return Prefix(
            (*self.chain, hash((last, message.role, message.content))),
            (*self.tokens, self.total_tokens + size),
            self.head,
            self.conversation,
        )

    @property
    def lineage(self) -> int:
        """What stays the same over all turns of one conversation."""
        if self.conversation or len(self.chain) <= self.head:
            return hash(self.conversation)
        return self.chain[self.head]

    @property
    def total_tokens(self) -> int:
        """The length of the whole."""
        return self.tokens[-1] if self.tokens else 0

    def shared(self, other: "Prefix") -> int:
        """How many leading messages both have in common."""
        low, high = 0, min(len(self.chain), len(other.chain))
        while low < high:  # equal up to a point and never after it: each hash covers all before it
            middle = (low + high + 1) // 2
            if self.chain[middle - 1] == other.chain[middle - 1]:
                low = middle
            else:
                high = middle - 1
        return low
