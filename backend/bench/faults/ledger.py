"""What clients were told, what PostgreSQL holds, and where the two disagree. Pure: no clock, no I/O."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One `done` that a client received, in the order in which its conversation received them."""

    conversation: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Row:
    """One stored message; rows of a conversation are in the order of their ids."""

    conversation: str
    role: str
    content: str
    id: int = 0
    previous_id: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every disagreement, one sentence each. Empty means that the promise was kept."""

    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    disordered: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.disordered or self.misplaced)


def judge(acknowledged: Sequence[Acknowledged], asked: Iterable[str], rows: Sequence[Row]) -> Verdict:
    """Compare. `asked` is every question that was ever sent, acknowledged or not; each text is unique.

    Lost: an acknowledged question or its answer is not there. Doubled: a question is there more than once,
    or has more than one answer. Disordered: a conversation holds acknowledged questions in another order,
    or a row follows another than the one before it. Misplaced: a question or an answer is in a conversation
    that is not its own, or an answer is not the one that the client was given.
    """
    talks: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        talks[row.conversation].append(row)
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.role == "user":
            homes[row.content].append(row.conversation)
    lost: list[str] = []
    misplaced: list[str] = []
    for told in acknowledged:
        found = homes.get(told.question, [])
        if told.conversation not in found:
            (misplaced if found else lost).append(f"{told.question} in {told.conversation}")
            continue
        answers = answers_to(talks[told.conversation], told.question)
        if not answers:
            lost.append(f"the answer to {told.question} in {told.conversation}")
        elif told.answer not in answers:
            misplaced.append(f"another answer than the one told to {told.question} in {told.conversation}")
    doubled = [f"{text} is there {len(homes[text])} times" for text in asked if len(homes.get(text, [])) > 1]
    doubled += [
        f"{told.question} has several answers"
        for told in acknowledged
        if len(answers_to(talks.get(told.conversation, []), told.question)) > 1
    ]
    return Verdict(tuple(lost), tuple(doubled), tuple(_disorder(acknowledged, talks)), tuple(misplaced))


def answers_to(talk: Sequence[Row], question: str) -> list[str]:
    """The answers that stand behind a question, before the next one."""
    answers: list[str] = []
    is_here = False
    for row in talk:
        if row.role == "user":
            is_here = row.content == question
        elif is_here:
            answers.append(row.content)
    return answers


def _disorder(acknowledged: Sequence[Acknowledged], talks: dict[str, list[Row]]) -> list[str]:
    found: list[str] = []
    order: defaultdict[str, list[str]] = defaultdict(list)
    for told in acknowledged:
        order[told.conversation].append(told.question)
    for conversation, questions in order.items():
        wanted = set(questions)
        stored = [
            row.content for row in talks.get(conversation, []) if row.role == "user" and row.content in wanted
        ]
        answered = [question for question in questions if question in set(stored)]
        if list(dict.fromkeys(stored)) != answered:
            found.append(f"{conversation} has its questions in another order than they were answered")
    for conversation, talk in talks.items():
        before: int | None = None
        for row in talk:
            if row.id and row.previous_id != before:
                found.append(f"message {row.id} of {conversation} follows {row.previous_id}, not {before}")
            before = row.id
    return found
