"""The first V2, as a negative control: `bench.v1.naive:app`. Needs Ollama.

It chose Ollama's *runner* options by the kind of query. Ollama compares them with the loaded model and loads
it again when they differ, so a mixed load spends its time loading.
"""

import os
from typing import Any

from app.api import create_app
from app.core.settings import Settings

from .engine import StaticEngine
from .system import StaticSystem

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


def build(settings: Settings) -> StaticSystem:
    """V1 with that engine client."""
    url = settings.ollama_url or "http://127.0.0.1:11434"
    return StaticSystem(
        database_url=settings.database_url or "",
        redis_url=settings.redis_url or "redis://127.0.0.1:6379/0",
        engine_url=url,
        dialect="ollama",
        model=settings.model or "",
        deadline_s=settings.deadline_s,
        engine=NaiveEngine(url, "ollama", settings.model or ""),
        prefix=os.environ.get("V1_PREFIX", "naive"),
    )


settings = Settings()
app = create_app(build(settings), settings)
