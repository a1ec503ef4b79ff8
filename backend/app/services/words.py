"""What an engine says, made fit to be stored and bounded: an answer has an end of its own. Pure."""

from dataclasses import dataclass

NUL = "\x00"
REPLACEMENT = "\ufffd"
# No vocabulary has many tokens that are longer.
CHARS_PER_TOKEN = 32


class Cleaner:
    """Takes what PostgreSQL and UTF-8 cannot hold out of a text that comes in pieces.

    A NUL is left out. Half a surrogate pair is joined with its other half, which may come with the next
    piece; alone it becomes U+FFFD. `cleaned` counts both.
    """

    def __init__(self) -> None:
        self.cleaned = 0
        self._half = ""

    def feed(self, piece: str) -> str:
        """Return what can be said of the text so far."""
        text = self._half + piece
        self._half = ""
        if NUL in text:
            self.cleaned += text.count(NUL)
            text = text.replace(NUL, "")
        try:
            text.encode()
        except UnicodeEncodeError:
            if "\ud800" <= text[-1] <= "\udbff":
                text, self._half = text[:-1], text[-1]
            text = self._joined(text)
        return text

    def end(self) -> str:
        """Return what was held back."""
        half, self._half = self._half, ""
        return self._joined(half)

    def _joined(self, text: str) -> str:
        # UTF-16 is where the halves of a pair belong together.
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.cleaned += joined.count(REPLACEMENT) - text.count(REPLACEMENT)
        return joined


def cleaned(text: str) -> str:
    """Return a short text of an engine (a model's name, a reason) in one piece."""
    cleaner = Cleaner()
    return cleaner.feed(text) + cleaner.end()


@dataclass(frozen=True, slots=True)
class End:
    """Where an answer ends at the latest, whatever the engine was told and obeys.

    `max_chars` of text, `max_s` after its first piece, and, where the caller bounded its tokens, so many
    pieces and characters as that many tokens can be.
    """

    max_chars: int
    max_s: float
    max_tokens: int | None = None

    @property
    def most_chars(self) -> int:
        """How many characters there may be."""
        by_tokens = self.max_chars if self.max_tokens is None else CHARS_PER_TOKEN * self.max_tokens + 256
        return min(self.max_chars, by_tokens)

    def reason(self, *, chars: int, pieces: int, age_s: float) -> str | None:
        """Return why the answer ends now, in the engines' own words, or None."""
        if chars >= self.most_chars:
            return "length"
        if self.max_tokens is not None and pieces > 2 * self.max_tokens + 16:
            return "length"
        return "time" if age_s > self.max_s else None
