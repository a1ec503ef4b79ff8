"""The negative control for an ASGI server: `bench.v1.naive_main:app`."""

import os

from app.api import create_app
from app.core.settings import Settings

from .naive import NaiveEngine
from .system import StaticSystem

settings = Settings()
url = settings.ollama_url or "http://127.0.0.1:11434"
model = settings.model or ""

system = StaticSystem(
    database_url=settings.database_url or "",
    redis_url=settings.redis_url or "redis://127.0.0.1:6379/0",
    engine_url=url,
    dialect="ollama",
    model=model,
    deadline_s=settings.deadline_s,
    engine=NaiveEngine(url, "ollama", model),
    prefix=os.environ.get("V1_PREFIX", "naive"),
)
app = create_app(system, settings)
