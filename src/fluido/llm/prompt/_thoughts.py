"""What a reasoning model says to itself inside of its text: `<think> ... </think>` before the answer.

Servers with a parser for the model send thoughts apart; others send them as text. A text that begins with the
tag is split as it comes, also where a piece ends in the middle of a tag.
"""

from fluido.llm._call import Delta, Timings
from fluido.llm._errors import EmptyAnswer

OPEN, CLOSE = "<think>", "</think>"


class ThinkTags:
    """Splits one answer. Nothing is held back but what may be the beginning of a tag."""

    __slots__ = ("_held", "_inside", "_is_silent", "_over")

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._over = False
        self._is_silent = False  # between the closing tag and the first letter of the answer

    def split(self, piece: str) -> Delta:
        """The text and the thoughts that `piece` completes; both may be empty."""
        if self._over:
            return self._after(piece)
        self._held += piece
        if not self._inside:
            begin = self._held.lstrip()
            if len(begin) < len(OPEN) and OPEN.startswith(begin):
                return Delta("")
            if not begin.startswith(OPEN):
                return self._rest()
            self._inside = True
            self._held = begin[len(OPEN) :]
        thought, closed, text = self._held.partition(CLOSE)
        if closed:
            self._over, self._is_silent, self._held = True, True, ""
            return Delta(self._after(text).text, thought)
        keep = _possible_tag(self._held)
        thought, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return Delta("", thought)

    def end(self) -> Delta:
        """What was held back."""
        if self._inside and not self._over:
            thought, self._held = self._held, ""
            return Delta("", thought)
        return self._rest()

    def _after(self, piece: str) -> Delta:
        if self._is_silent:
            piece = piece.lstrip()
            self._is_silent = not piece
        return Delta(piece)

    def _rest(self) -> Delta:
        self._over = True
        text, self._held = self._held, ""
        return Delta(text)


def without_thoughts(answer: str) -> str:
    """An earlier answer as it is sent back: what stood between the tags before it is left out.

    Templates that write the opening tag into the prompt leave only the closing one in the answer.
    """
    begin = answer.lstrip()
    if begin.startswith(OPEN):
        return begin.partition(CLOSE)[2].lstrip()
    before, closed, after = answer.partition(CLOSE)
    stands_alone = before.endswith("\n") or after.startswith("\n")
    return after.lstrip() if closed and stands_alone and OPEN not in answer else answer


def only_thoughts(timings: Timings) -> EmptyAnswer:
    """What an answer without a word raises."""
    tokens = timings.output_tokens
    if timings.finish_reason == "length":
        why = f"all {tokens} tokens it was allowed went into thoughts: allow more, or turn thinking off"
    else:
        why = f"it ended after {tokens} tokens of thoughts: ask again, or turn thinking off"
    return EmptyAnswer(f"the model gave no answer, {why}", thought_tokens=tokens)


def _possible_tag(held: str) -> int:
    """How many characters at the end may be the beginning of the closing tag."""
    for size in range(min(len(held), len(CLOSE) - 1), 0, -1):
        if CLOSE.startswith(held[-size:]):
            return size
    return 0
