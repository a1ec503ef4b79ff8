"""Answers that may be given again: the same question, asked at once by many or again soon.

Exact and small. A key is everything that shapes an answer: tenant, model and its instance, options in effect,
format and the whole prompt. A prompt that holds a history is also its user's own. By default only calls that
would give the same text anyway are shared (temperature 0 or a seed); `sampled` also shares one sample of the
others.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fluido.llm._call import Call, Delta, Timings
from fluido.llm._engine import EngineFacts

ANSWER_OVERHEAD_CHARS = 200
REPEATABLE_ENDS = frozenset({"stop", "length"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer and what its generation took."""

    delta: Delta
    timings: Timings
    until_s: float


class Answers:
    """A bounded memory of answers. `max_chars=0` keeps none; identical calls in flight are shared even so."""

    def __init__(
        self,
        *,
        max_chars: int = 4 << 20,
        ttl_s: float = 600.0,
        sampled: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._max_chars = max_chars
        self._ttl_s = ttl_s
        self._sampled = sampled
        self._clock = clock
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._chars = 0
        self.hits = 0
        self.joined = 0

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def chars(self) -> int:
        """What is kept, in characters with an overhead for each answer."""
        return self._chars

    def key(self, call: Call, facts: EngineFacts | None) -> bytes | None:
        """What identifies the answer to `call` (its options in effect), None when it is not to be shared."""
        options = call.options
        repeats = options.temperature == 0 or options.seed is not None
        if not repeats and facts is not None and options.temperature is None:
            repeats = facts.defaults.temperature == 0
        if facts is None or not (repeats or self._sampled):
            return None
        has_history = sum(message.role != "system" for message in call.messages) > 1
        parts = (
            call.tenant,
            (call.key or call.conversation) if has_history else "",
            call.model or facts.model,
            facts.instance,
            facts.version,
            call.think,
            call.response_format,
            sorted(options.filled(facts.defaults).given().items()),
            [(message.role, message.content) for message in call.messages],
        )
        return hashlib.blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=16).digest()

    def get(self, key: bytes) -> Answer | None:
        """The answer, unless it is too old."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if self._clock() > answer.until_s:
            self._forget(key)
            return None
        self._answers.move_to_end(key)
        self.hits += 1
        return answer

    def put(self, key: bytes, delta: Delta, timings: Timings) -> None:
        """Keep an answer that ended by itself and says something; the least used make room."""
        size = _size(delta)
        if timings.finish_reason not in REPEATABLE_ENDS or size > self._max_chars or not delta.text.strip():
            return
        self._forget(key)
        self._answers[key] = Answer(delta, timings, self._clock() + self._ttl_s)
        self._chars += size
        while self._chars > self._max_chars:
            self._forget(next(iter(self._answers)))

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
        self._chars = 0

    def _forget(self, key: bytes) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._chars -= _size(answer.delta)


def _size(delta: Delta) -> int:
    return len(delta.text) + len(delta.thinking) + ANSWER_OVERHEAD_CHARS
