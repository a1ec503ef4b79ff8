"""The first V2, as a negative control. Needs Ollama.

It chose Ollama's *runner* options by the kind of query. Ollama compares them with the loaded model and loads
it again when they differ, so a mixed load spends its time loading.
"""

from typing import Any

from .engine import StaticEngine

PROFILES = {
    "short": {"num_ctx": 2048, "num_batch": 256},
    "medium": {"num_ctx": 2048, "num_batch": 512},
    "long": {"num_ctx": 4096, "num_batch": 512},
}
SHORT_CHARS, MEDIUM_CHARS = 80, 240


def kind_of(question: str) -> str:
    """By length, as the first V2 did."""
    if len(question) <= SHORT_CHARS:
        return "short"
    return "medium" if len(question) <= MEDIUM_CHARS else "long"


class NaiveEngine(StaticEngine):
    """V1's client with other runner options for each kind of query."""

    def _request(self, messages: list[dict[str, str]], num_predict: int) -> tuple[str, dict[str, Any]]:
        path, body = super()._request(messages, num_predict)
        runner = PROFILES[kind_of(messages[-1]["content"])]
        return path, {**body, "options": {**body.get("options", {}), **runner}}
