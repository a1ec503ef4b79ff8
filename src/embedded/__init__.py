"""Real PostgreSQL, Redis and language model servers on free loopback ports, from wheels.

    async with embedded.stack() as ground:
        print(ground.database_url, ground.redis_url, ground.engine_url)

`python -m embedded` keeps them up until Ctrl-C. Knows nothing of fluido and of Sentinel.
"""

from embedded.addresses import noted
from embedded.engine import Engine
from embedded.errors import GroundError
from embedded.ground import Stack
from embedded.model_server import EngineOptions
from embedded.ollama import Ollama
from embedded.postgres import Postgres
from embedded.redis import Redis
from embedded.redis_sentinel import RedisSentinel
from embedded.standby import Standby
from embedded.topology import Topology

stack = Stack  # reads as what it does in `async with embedded.stack() as ground:`

__all__ = [
    "Engine",
    "EngineOptions",
    "GroundError",
    "Ollama",
    "Postgres",
    "Redis",
    "RedisSentinel",
    "Stack",
    "Standby",
    "Topology",
    "noted",
    "stack",
]
