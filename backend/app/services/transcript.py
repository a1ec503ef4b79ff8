"""What was said in a conversation, as a prompt needs it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

MAX_MESSAGES = 200
MAX_CHARS = 64_000


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Turns of `user_id` up to and including the stored message `last_id`, oldest first."""

    last_id: int | None
    turns: tuple[Turn, ...]
    user_id: str = ""

    def followed_by(self, last_id: int | None, *turns: Turn) -> "Transcript":
        """Return the transcript after `turns`; only ever appended to, so a prompt's prefix stays."""
        return replace(self, last_id=last_id, turns=(*self.turns, *turns))

    def cut(self, max_messages: int = MAX_MESSAGES, max_chars: int = MAX_CHARS) -> "Transcript":
        """Return the transcript within bounds: see `bounded`."""
        kept = bounded(self.turns, max_messages, max_chars)
        return self if kept is self.turns else replace(self, turns=tuple(kept))


def bounded(turns: Sequence[Turn], max_messages: int, max_chars: int) -> Sequence[Turn]:
    """Keep all, or cut to half of the bounds: a window that slides by one turn never matches twice."""
    if len(turns) <= max_messages and sum(len(turn.content) for turn in turns) <= max_chars:
        return turns
    kept: list[Turn] = []
    chars = 0
    for turn in reversed(turns):
        chars += len(turn.content)
        if kept and (len(kept) >= max_messages // 2 or chars > max_chars // 2):
            break
        kept.append(turn)
    kept.reverse()
    while len(kept) > 1 and kept[0].role != "user":
        del kept[0]  # templates want a user first
    return kept
