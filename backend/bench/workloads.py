"""Who asks what: people with conversations of their own, made from a seed, the same for every arm.

A person comes for a visit of a few questions, reads each answer before the next, leaves, and comes back after
minutes. How long pauses and texts are is drawn from a public trace of a production service.
"""

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from bench.traces import Trace

_WORDS_PER_TOKEN = 0.8
"""English words a token of a small tokenizer; only relative lengths matter, all arms send the same text."""

_SUBJECTS = (
    "the harbour", "a mountain road", "the old library", "winter wheat", "a copper mine", "the night train",
    "a small bakery", "the tide", "a glass factory", "the village school", "a wind turbine", "the lighthouse",
    "desert rain", "a stone bridge", "the fishing fleet", "an orchard", "the observatory", "a river delta",
)  # fmt: skip
_ASPECTS = (
    "its history", "who pays for it", "how it is repaired", "what it looks like at dawn", "its neighbours",
    "the people who work there", "the weather around it", "what changed last year", "the noise it makes",
    "how far one can see from it", "the oldest thing in it", "what a visitor should know",
)  # fmt: skip
_OPENINGS = (
    "Tell me about",
    "Describe",
    "Explain",
    "Give me a note on",
    "Write about",
    "What do you know of",
)
HISTORY = (2, 8)
"""Exchanges that a person has had before, from and to."""
VISIT = (2, 4)
"""Questions of one visit, from and to."""
LONGEST_GAP = 6.0
"""Mean gaps that the longest pause has: the trace's own longest would be a person who never comes back."""


@dataclass(frozen=True, slots=True)
class Question:
    """One message of a user. `output_tokens` bounds the answer, equally in all arms."""

    user_id: str
    conversation: str
    turn: int
    text: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of a trace squeezed to a small machine: ratios kept, extremes bounded."""

    trace: Trace
    scale: float = 0.18
    question_share: float = 0.2
    """Of a request's context, how much is the new question (the rest is system prompt and history)."""
    question_tokens: tuple[int, int] = (8, 96)
    output_tokens: tuple[int, int] = (8, 48)

    def draw(self, source: random.Random) -> tuple[int, int]:
        """(tokens of a question, tokens of its answer) of one random request of the trace."""
        at = source.randrange(len(self.trace))
        question = self.trace.prompt_tokens[at] * self.scale * self.question_share
        output = self.trace.output_tokens[at] * self.scale
        return _bound(question, self.question_tokens), _bound(output, self.output_tokens)


def _bound(value: float, limits: tuple[int, int]) -> int:
    return round(max(limits[0], min(limits[1], value)))


@dataclass(frozen=True)
class Gaps:
    """Pauses whose ratios are those of the gaps between the requests of a trace."""

    trace: Trace

    @cached_property
    def _gaps(self) -> list[float]:
        raw = [after - before for before, after in itertools.pairwise(self.trace.at_s)]
        mean = sum(raw) / len(raw)
        bounded = [min(gap / mean, LONGEST_GAP) for gap in raw]
        again = sum(bounded) / len(bounded)
        return [gap / again for gap in bounded]

    @cached_property
    def _by_length(self) -> list[float]:
        return list(itertools.accumulate(self._gaps))

    def draw(self, mean_s: float, source: random.Random) -> float:
        """A pause of `mean_s` seconds in the mean."""
        return mean_s * source.choice(self._gaps)

    def rest(self, mean_s: float, source: random.Random) -> float:
        """What is left of such a pause at a moment that finds somebody in one: long ones are found more."""
        (gap,) = source.choices(self._gaps, cum_weights=self._by_length)
        return mean_s * gap * source.random()


@dataclass(frozen=True, slots=True)
class Pauses:
    """Mean seconds that a person reads an answer, and stays away after a visit."""

    read_s: float = 4.0
    away_s: float = 90.0

    @property
    def cycle_s(self) -> float:
        """Mean seconds of a person for one question, without the answer itself."""
        questions = sum(VISIT) / 2
        return ((questions - 1) * self.read_s + self.away_s) / questions


@dataclass(frozen=True, slots=True)
class Step:
    """One question of a person, and the pause after its answer."""

    question: Question
    pause_s: float


@dataclass(frozen=True, slots=True)
class Script:
    """What one person does: `first_s` after the start the first question, then step by step without end."""

    user: str
    first_s: float
    steps: Iterator[Step]
    is_reading: bool = False
    """In the middle of a visit: has asked something moments before the start."""


@dataclass(frozen=True, slots=True)
class Population:
    """`count` people with the same `name`. Person n is the same whatever the count, and for every arm."""

    name: str
    count: int
    lengths: Lengths
    gaps: Gaps
    pauses: Pauses

    def users(self) -> list[str]:
        """Their names, which are those of their conversations."""
        return [f"{self.name}-{number}" for number in range(self.count)]

    def histories(self) -> dict[str, list[tuple[str, str]]]:
        """What they said before, by conversation: other texts in every population."""
        found = {}
        for user in self.users():
            source = random.Random(f"history {user}")
            exchanges = []
            for _ in range(source.randint(*HISTORY)):
                question, output = self.lengths.draw(source)
                exchanges.append((compose(question, source), compose(output, source)))
            found[user] = exchanges
        return found

    def scripts(self) -> list[Script]:
        """Everybody is somewhere in a life of visits when the block begins, as if it had always gone on."""
        return [self._script(user) for user in self.users()]

    def before(self) -> list[Question]:
        """What those who are in the middle of a visit asked before the block begins, with a short answer.

        Without it everybody's first question would be the first of a visit, and no engine would know any of
        the conversations that are under way.
        """
        found = []
        for script in self.scripts():
            if script.is_reading:
                source = random.Random(f"before {script.user}")
                tokens, _ = self.lengths.draw(source)
                shortest = self.lengths.output_tokens[0]
                found.append(Question(script.user, script.user, -1, compose(tokens, source), shortest))
        return found

    def sequence(self) -> Iterator[Question]:
        """Their questions in the order in which they would be asked if every answer came at once."""
        coming = [(script.first_s, at, script.steps) for at, script in enumerate(self.scripts())]
        heapq.heapify(coming)
        while coming:
            due_s, at, steps = heapq.heappop(coming)
            step = next(steps)
            yield step.question
            heapq.heappush(coming, (due_s + step.pause_s, at, steps))

    def _script(self, user: str) -> Script:
        """At any moment somebody is away, or reads with some questions of the visit left."""
        source = random.Random(f"script {user}")
        sizes = range(VISIT[0], VISIT[1] + 1)
        reads_s = self.pauses.read_s * (sum(sizes) / len(sizes) - 1)
        if source.random() * (reads_s + self.pauses.away_s) >= reads_s:
            return Script(user, self.gaps.rest(self.pauses.away_s, source), self._steps(user, source, 0))
        (size,) = source.choices(sizes, weights=[size - 1 for size in sizes])
        left = source.randint(1, size - 1)
        rest_s = self.gaps.rest(self.pauses.read_s, source)
        return Script(user, rest_s, self._steps(user, source, left), is_reading=True)

    def _steps(self, user: str, source: random.Random, left: int) -> Iterator[Step]:
        """The questions that are `left` of a visit, then visit after visit."""
        turn = 0
        while True:
            for more in reversed(range(left)):
                mean_s = self.pauses.read_s if more else self.pauses.away_s
                tokens, output = self.lengths.draw(source)
                question = Question(user, user, turn, compose(tokens, source), output)
                yield Step(question, self.gaps.draw(mean_s, source))
                turn += 1
            left = source.randint(*VISIT)


def compose(tokens: int, source: random.Random) -> str:
    """An English question of about that many tokens; nothing repeats by chance."""
    words = [*source.choice(_OPENINGS).split(), *source.choice(_SUBJECTS).split()]
    wanted = max(len(words) + 2, round(tokens * _WORDS_PER_TOKEN))
    while len(words) < wanted:
        link = source.choice(("and", "with", "but above all", "then"))
        words += [*link.split(), *source.choice(_ASPECTS).split()]
    number = source.randrange(10_000)
    return " ".join(words[:wanted]) + f", note {number}?"
