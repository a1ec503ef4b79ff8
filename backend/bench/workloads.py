"""Who asks what: sessions of questions, made from a seed, the same for every arm.

The three standard workloads differ in what a server may reuse: a returning user's history is long and known,
a new conversation grows from nothing, a single question has no history but may have been asked before.
"""

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.traces import Trace

_WORDS_PER_TOKEN = 0.8
"""English words a token of a small tokenizer; only relative lengths matter, all arms send the same text."""

RETURNING, NEW, SINGLE = "returning_users", "new_conversations", "single_questions"

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


@dataclass(frozen=True, slots=True)
class Question:
    """One message of a user. `output_tokens` bounds the answer, equally in all arms."""

    user_id: str
    conversation: str
    turn: int
    text: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Session:
    """Questions asked one after the other; `think_s[i]` passes between answer i and question i+1."""

    questions: tuple[Question, ...]
    think_s: tuple[float, ...]


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


class Workload(Protocol):
    """A source of sessions. `namespace` keeps conversations of different runs apart."""

    @property
    def name(self) -> str: ...

    def sessions(self, count: int, *, seed: int, namespace: str) -> list[Session]: ...


@dataclass(frozen=True, slots=True)
class ReturningUsers:
    """Visits of one question each, by `users` people whose conversations already exist and go on.

    People come back in a shuffled round, so that nobody asks twice before everybody has asked once.
    """

    lengths: Lengths
    users: int = 8
    name: str = RETURNING

    def sessions(self, count: int, *, seed: int, namespace: str) -> list[Session]:
        """`namespace` names the population: the same one in all blocks of a run."""
        source = random.Random(seed)
        visits: list[Session] = []
        while len(visits) < count:
            people = list(range(self.users))
            source.shuffle(people)
            for person in people[: count - len(visits)]:
                user = f"{namespace}-user-{person}"
                visits.append(Session((_ask(user, user, 0, source, self.lengths),), ()))
        return visits


@dataclass(frozen=True, slots=True)
class NewConversations:
    """People that come for the first time and ask `turns` questions with time to read in between."""

    lengths: Lengths
    turns: int = 6
    think_mean_s: float = 1.0
    name: str = NEW

    def sessions(self, count: int, *, seed: int, namespace: str) -> list[Session]:
        """Every block needs a namespace of its own, or its conversations would not be new."""
        source = random.Random(seed)
        made = []
        for index in range(count):
            user = f"{namespace}-new-{index}"
            questions = tuple(_ask(user, user, turn, source, self.lengths) for turn in range(self.turns))
            think = tuple(source.expovariate(1 / self.think_mean_s) for _ in range(self.turns - 1))
            made.append(Session(questions, think))
        return made


@dataclass(frozen=True, slots=True)
class SingleQuestions:
    """One question without history each, from a catalogue in which few are asked often (Zipf)."""

    lengths: Lengths
    catalogue: int = 200
    exponent: float = 1.0
    name: str = SINGLE

    def sessions(self, count: int, *, seed: int, namespace: str) -> list[Session]:
        """The catalogue is the same for every seed; who asks is new each time."""
        texts = random.Random("catalogue")
        known = [_ask("", "", 0, texts, self.lengths) for _ in range(self.catalogue)]
        source = random.Random(seed)
        ranks = zipf(count, self.catalogue, exponent=self.exponent, source=source)
        made = []
        for index, rank in enumerate(ranks):
            user = f"{namespace}-single-{index}"
            chosen = known[rank]
            made.append(Session((Question(user, user, 0, chosen.text, chosen.output_tokens),), ()))
        return made


def zipf(count: int, catalogue: int, *, exponent: float, source: random.Random) -> list[int]:
    """`count` ranks of 0..catalogue-1, rank k with weight 1/(k+1)**exponent."""
    cumulative = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(catalogue)))
    return [bisect.bisect_left(cumulative, source.random() * cumulative[-1]) for _ in range(count)]


def _ask(user: str, conversation: str, turn: int, source: random.Random, lengths: Lengths) -> Question:
    tokens, output = lengths.draw(source)
    return Question(user, conversation, turn, compose(tokens, source), output)


def compose(tokens: int, source: random.Random) -> str:
    """An English question of about that many tokens; nothing repeats by chance."""
    words = [*source.choice(_OPENINGS).split(), *source.choice(_SUBJECTS).split()]
    wanted = max(len(words) + 2, round(tokens * _WORDS_PER_TOKEN))
    while len(words) < wanted:
        link = source.choice(("and", "with", "but above all", "then"))
        words += [*link.split(), *source.choice(_ASPECTS).split()]
    number = source.randrange(10_000)
    return " ".join(words[:wanted]) + f", note {number}?"


def questions(sessions: Sequence[Session]) -> int:
    """How many requests the sessions hold."""
    return sum(len(session.questions) for session in sessions)
