"""Sentinel for any ASGI server: `app.main:app`.

DATABASE_URL, REDIS_URL and OLLAMA_URL stand in the environment; `python -m app` brings what is missing
along.
"""

from app.core.settings import Settings
from app.server import application

app = application(Settings())
