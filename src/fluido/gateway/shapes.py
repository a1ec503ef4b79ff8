"""What the data path needs from a wire format; `fluido.gateway.wire` has it."""

from typing import Protocol


class Ended(Protocol):
    """What an answer said at its end. Seconds and counts are None where the engine does not tell."""

    @property
    def prompt_tokens(self) -> int | None:
        """Of the whole prompt."""

    @property
    def output_tokens(self) -> int | None:
        """That were generated."""

    @property
    def cached_tokens(self) -> int | None:
        """Of the prompt, that had not to be computed."""

    @property
    def finish_reason(self) -> str:
        """Why it ended."""

    @property
    def load_s(self) -> float | None:
        """Spent on loading the model."""

    @property
    def prefill_s(self) -> float | None:
        """Spent on the prompt."""

    @property
    def decode_s(self) -> float | None:
        """Spent on the answer."""


class Shape(Protocol):
    """A stream in the words of one API. One object a call: it remembers what was cut between two pieces."""

    def heartbeat(self) -> bytes | None:
        """What a client takes as nothing; None where there is no such thing."""

    def broken(self, message: str) -> bytes:
        """An error inside of a stream."""

    def is_first_token(self, data: bytes) -> bool:
        """Whether something of the answer is in the stream by now."""

    def end(self, data: bytes) -> Ended | None:
        """What the stream said at its end, once it did."""


class Translator(Protocol):
    """A stream of one API in the words of another."""

    @property
    def media(self) -> bytes:
        """The type of what comes out."""

    def feed(self, data: bytes) -> bytes:
        """Translate a piece; what is cut waits for the next."""
