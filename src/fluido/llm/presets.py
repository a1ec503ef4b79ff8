"""Request-level options by kind of query, filled only where neither the caller nor the model's author spoke.

The bound on the answer's length is learned from what answers of that kind really take. A bound that is too
low cuts an answer, so it stands at twice the 95th percentile; a thinking model spends its bound on thoughts
before it says a word (ollama/ollama#16184: an empty answer), so with thinking on it is never below 2,048
tokens.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.llm.call import Kind, Options

THINKING_FLOOR_TOKENS = 2048
LEARN_AFTER = 20
HISTORY = 200
HEADROOM = 2.0

DEFAULT_PRESETS: Mapping[Kind, Options] = {
    Kind.SHORT: Options(num_predict=256, temperature=0.3, top_p=0.9),
    Kind.MEDIUM: Options(num_predict=768, temperature=0.7, top_p=0.9),
    Kind.LONG: Options(num_predict=2048, temperature=0.8, top_p=0.95),
    Kind.CODE: Options(num_predict=1536, temperature=0.2, top_p=0.95),
}


@dataclass(frozen=True, slots=True)
class Bound:
    """How long answers of a kind may get, in tokens, and from how many answers that was learned (0.

    The preset).
    """

    kind: Kind
    tokens: int
    learned_from: int


class Presets:
    """Fills options by kind and learns the bound on answers.

    `floor_tokens` bounds what it may learn from below.
    """

    def __init__(self, presets: Mapping[Kind, Options] | None = None, *, floor_tokens: int = 64) -> None:
        self._presets = dict(DEFAULT_PRESETS if presets is None else presets)
        self._floor_tokens = floor_tokens
        self._seen: dict[Kind, deque[int]] = {kind: deque(maxlen=HISTORY) for kind in Kind}

    def filled(self, asked: Options, kind: Kind, *, author: Options, thinks: bool) -> Options:
        """The options to send.

        What `asked` or the model's `author` set stays; a set `author` value is not sent.
        """
        preset = self._presets.get(kind, Options())
        bound = self.bound(kind).tokens if preset.num_predict is not None else None
        if bound is not None and thinks:
            bound = max(bound, THINKING_FLOOR_TOKENS)
        open_fields = {
            name: value
            for name, value in preset.given().items()
            if getattr(author, name) is None and name != "num_predict"
        }
        if bound is not None and author.num_predict is None:
            open_fields["num_predict"] = bound
        return asked.filled(Options(**open_fields))  # type: ignore[arg-type]  # names and types of Options itself

    def bound(self, kind: Kind) -> Bound:
        """The bound in force for `kind`.

        Never above the preset, learned once enough answers ended by themselves.
        """
        ceiling = self._presets.get(kind, Options()).num_predict or 0
        seen = self._seen[kind]
        if len(seen) < LEARN_AFTER or not ceiling:
            return Bound(kind, ceiling, 0)
        ordered = sorted(seen)
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        return Bound(kind, max(self._floor_tokens, min(ceiling, int(HEADROOM * p95))), len(seen))

    def learn(self, kind: Kind, output_tokens: int, finish_reason: str) -> None:
        """An answer ended. One that hit its bound counts as twice as long: its true length is unknown."""
        if finish_reason == "length":
            self._seen[kind].append(2 * output_tokens)
        elif output_tokens > 0:
            self._seen[kind].append(output_tokens)
