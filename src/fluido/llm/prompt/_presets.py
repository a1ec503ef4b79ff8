"""Request-level options by kind of query, filled only where neither the caller nor the model's author spoke.

The library has none: nothing that the caller did not say is sent. Who wants a policy gives one to the
dispatcher. A thinking model spends its bound on thoughts before it says a word (ollama/ollama#16184: an empty
answer), so where thoughts were declared or seen a bound of a policy is four times as high, and at least
2,048 tokens.
"""

from collections.abc import Mapping
from dataclasses import fields

from fluido.llm._call import Kind, Options

THINKING_FLOOR_TOKENS = 2048
THINKING_SHARE = 4
# What every server with OpenAI's endpoint takes. Others refuse a call for a name they do not know, so a
# policy does not send it there; a caller may.
SPOKEN_BY_ALL = frozenset({"num_predict", "temperature", "top_p", "seed", "stop"}) | {
    "presence_penalty",
    "frequency_penalty",
}


class Presets:
    """A policy: options by kind. Without any, what the caller asked is what is sent."""

    def __init__(self, presets: Mapping[Kind, Options] | None = None) -> None:
        self._presets = dict(presets or {})

    def filled(
        self, asked: Options, kind: Kind, *, author: Options, thinks: bool, plain: bool = False
    ) -> Options:
        """The options to send.

        What `asked` or the model's `author` set stays; a set `author` value is not sent. `plain`: the server
        takes only what all take.
        """
        preset = self._presets.get(kind)
        if preset is None:
            return asked
        open_fields = {
            name: value
            for name, value in preset.given().items()
            if getattr(author, name, None) is None and (not plain or name in SPOKEN_BY_ALL)
        }
        bound = open_fields.get("num_predict")
        if thinks and isinstance(bound, int):
            open_fields["num_predict"] = thinking_bound(bound)
        names = {field.name for field in fields(Options)}
        more = {name: open_fields.pop(name) for name in set(open_fields) - names}
        return asked.filled(Options(**open_fields, more=more))  # type: ignore[arg-type]  # as declared


def thinking_bound(tokens: int) -> int:
    """A policy's bound for a model that thinks first."""
    return max(THINKING_FLOOR_TOKENS, THINKING_SHARE * tokens)
