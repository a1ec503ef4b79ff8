"""A fact told in the first of five exchanges is asked for in the last: is it known? Real weights only."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.catalogue import MEMORY
from bench.experiment import RESTART_S, SETTLE_S, Context
from bench.http import HttpSender
from bench.load import FailedError, RefusedError
from bench.trial import Scene, Stand, Taken
from bench.workloads import Question

_KEPT = (
    ("cat", ("Milo", "Luna", "Oscar", "Bella", "Simba")),
    ("dog", ("Rex", "Bruno", "Daisy", "Rocky", "Coco")),
    ("boat", ("Aurora", "Mistral", "Victoria", "Albatros", "Neptune")),
    ("daughter", ("Clara", "Sofia", "Emma", "Nora", "Alice")),
)
_TALK = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many days are in a week?", "There are seven days in a week."),
    ("What colour is the sky on a clear day?", "On a clear day the sky is blue."),
    ("Which animal gives us milk?", "Cows give us milk."),
    ("What do bees make?", "Bees make honey."),
    ("Where does the sun rise?", "The sun rises in the east."),
)
ANSWER_TOKENS = 24
PERSON_S = 5.0
"""For a small model on one core to read a history and answer in a line."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What somebody said first, what was talked about then, and the word that a right answer has in it."""

    told: tuple[tuple[str, str], ...]
    question: str
    word: str


def fact(source: random.Random) -> Fact:
    """Five exchanges of which the last is still to be asked."""
    kind, names = source.choice(_KEPT)
    name = source.choice(names)
    first = (f"My {kind} is called {name}. Please remember it.", f"Your {kind} is called {name}.")
    return Fact((first, *source.sample(_TALK, 3)), f"What is my {kind} called?", name)


def is_right(answer: str, word: str) -> bool:
    """Whether the word is in the answer, in any case."""
    return word.lower() in answer.lower()


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    sender: HttpSender
    facts: Mapping[str, Fact]

    async def run(self, seed: int) -> Taken:
        """One after the other: nothing here is about time."""
        del seed
        right = asked = 0
        self.sender.keeps_text = True
        try:
            for user, known in self.facts.items():
                try:
                    reply = await self.sender(Question(user, user, 4, known.question, ANSWER_TOKENS))
                except (RefusedError, FailedError):
                    continue
                asked += 1
                right += is_right(reply.text, known.word)
        finally:
            self.sender.keeps_text = False
        figures = {"right": right / asked, "asked": float(asked)} if asked else {}
        return Taken((), figures, people=len(self.facts))


@dataclass(frozen=True, slots=True)
class Remembered:
    """Every round has other people with other facts, the same for each arm."""

    arms: tuple[str, ...] = ("v1", "v2")
    rounds: int = 5
    people: int = 8
    name: str = MEMORY
    levels: tuple[float, ...] = (1.0,)

    @property
    def processes(self) -> tuple[str, ...]:
        return self.arms

    def round_s(self) -> float:
        return len(self.arms) * (RESTART_S + SETTLE_S + self.people * PERSON_S)

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            source = random.Random(f"facts {context.seed} {number}")
            name = f"f{context.number()}"
            facts = {f"{name}-{at}": fact(source) for at in range(self.people)}
            arms = []
            for arm in self.arms:
                await context.ground.restart(arm, context.constants.environment(arm))
                await context.ground.settle(arm, {user: list(known.told) for user, known in facts.items()})
                arms.append(_Asked(arm, context.ground.contestants[arm].sender, facts))
            yield [Scene(1.0, arms)]

        yield stand
