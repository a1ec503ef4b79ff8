"""Sentinel, put together: the only module that knows every part.

Served by any ASGI server as `app.main:app` with DATABASE_URL, REDIS_URL and OLLAMA_URL in the
environment; `python -m app` brings what is missing along.
"""

from app.api import create_app
from app.api.pace import Pace
from app.cache.dynamic_redis import dynamic_redis_cache
from app.core.adaptive_buffers import DataFlowType, adaptive_buffer_manager
from app.core.heap import settle
from app.core.logs import configure
from app.core.settings import Settings
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from app.services.system import SentinelSystem
from fluido.laws.stream_gap import StreamGap

settings = Settings()
configure(settings.log_level)
DATABASE_URL = settings.required_database_url()

policy = adaptive_buffer_manager.policy
sentinel = SentinelFluidoV2(settings=settings)
db = DynamicPostgreSQLSession(
    DATABASE_URL, policy=policy(DataFlowType.DATABASE_QUERY), sharers=settings.replicas
)

system = SentinelSystem(
    sentinel,
    db,
    dynamic_redis_cache,
    adaptive_buffer_manager,
    redis_url=settings.redis_url,
    settings=settings,
)
pace = Pace(
    law=StreamGap(),
    slow_client_s=settings.slow_client_s,
    max_piece_chars=int(policy(DataFlowType.NETWORK_PACKET).need("batch_size")),
)
adaptive_buffer_manager.attach(DataFlowType.NETWORK_PACKET, pace.flows, pace.live)
app = create_app(system, settings, pace)
settle()
