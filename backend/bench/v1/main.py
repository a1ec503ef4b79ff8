"""V1 for an ASGI server: `bench.v1.main:app`, with the same environment variables as `app.main:app`.

V1_POOL_SIZE, V1_PIPELINE, V1_IN_FLIGHT and V1_EXCHANGES set its constants, V1_PREFIX begins its Redis keys.
"""

import os

from app.api import create_app
from app.core.heap import settle
from app.core.settings import Settings

from .engine import Dialect
from .system import StaticSystem
from .tuning import read

settings = Settings()
dialect: Dialect = "llamacpp" if settings.openai_url else "ollama"

system = StaticSystem(
    database_url=settings.database_url or "",
    redis_url=settings.redis_url or "redis://127.0.0.1:6379/0",
    engine_url=settings.openai_url or settings.ollama_url or "http://127.0.0.1:11434",
    dialect=dialect,
    model=settings.model or "",
    deadline_s=settings.deadline_s,
    tuning=read(os.environ),
    prefix=os.environ.get("V1_PREFIX", "v1"),
)
app = create_app(system, settings)
settle()
