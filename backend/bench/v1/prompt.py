"""V1's prompt: system text, the last three fragments, the question."""

from collections.abc import Sequence
from dataclasses import dataclass

SYSTEM_PROMPT = (
    "You are Sentinel, a helpful assistant. Answer in the language of the question, correctly and briefly."
)
"""The same text as V2's, so that both arms pay the same for it (a test compares them)."""

FRAGMENTS = 3
NUM_PREDICT = 512


@dataclass(frozen=True, slots=True)
class Fragment:
    """One exchange that is remembered: what the user asked and what was answered."""

    question: str
    answer: str


def messages(fragments: Sequence[Fragment], question: str, count: int = FRAGMENTS) -> list[dict[str, str]]:
    """The messages to send. The window slides: from the fifth turn on its oldest exchange drops out."""
    sent = [{"role": "system", "content": SYSTEM_PROMPT}]
    for fragment in fragments[-count:]:
        sent.append({"role": "user", "content": fragment.question})
        sent.append({"role": "assistant", "content": fragment.answer})
    sent.append({"role": "user", "content": question})
    return sent
