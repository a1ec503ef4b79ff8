"""Sentinel, put together: the composition root, and the only module that knows every part."""

from dataclasses import dataclass

from fastapi import FastAPI

from app.api import create_app
from app.api.pace import Pace
from app.cache.dynamic_redis import DynamicRedisCache
from app.core.adaptive_buffers import AdaptiveBufferManager, DataFlowType
from app.core.settings import Settings
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.services.sentinel_fluido_v2 import SentinelFluidoV2
from app.services.system import Part, SentinelSystem
from fluido.laws import StreamGap


@dataclass(frozen=True, slots=True)
class Sentinel:
    """One Sentinel, inert until its application is served. Several in a process share only the log."""

    settings: Settings
    app: FastAPI
    system: SentinelSystem
    service: SentinelFluidoV2
    db: DynamicPostgreSQLSession
    cache: DynamicRedisCache
    buffers: AdaptiveBufferManager


def build(
    settings: Settings,
    *,
    buffers: AdaptiveBufferManager | None = None,
    cache: DynamicRedisCache | None = None,
    namespace: str | None = None,
    system_class: type[SentinelSystem] = SentinelSystem,
) -> Sentinel:
    """Put a Sentinel together from its settings; nothing is opened, and no environment is read or written.

    `buffers` and `cache` are new ones by default. `namespace` is the prefix of every key in Redis. Raises
    ValueError without a database, which says how to get one.
    """
    buffers = buffers if buffers is not None else AdaptiveBufferManager()
    cache = cache if cache is not None else DynamicRedisCache()
    cache.configure(namespace=namespace)
    if settings.gateway:
        # its modules are loaded only where it is wanted
        from app.services.gateway import MountedGateway  # noqa: PLC0415
        from fluido.gateway import Shared  # noqa: PLC0415

        shared = Shared()
        service = SentinelFluidoV2(settings=settings, buffers=buffers, make_station=shared.station)
        beside: Part | None = MountedGateway(settings, shared)
    else:
        service, beside = SentinelFluidoV2(settings=settings, buffers=buffers), None
    db = DynamicPostgreSQLSession(
        settings.required_database_url(),
        policy=buffers.policy(DataFlowType.DATABASE_QUERY),
        sharers=settings.replicas,
        memory=settings.memory(),
    )
    system = system_class(
        service, db, cache, buffers, redis_url=settings.redis_url, settings=settings, beside=beside
    )
    pace = Pace(
        law=StreamGap(),
        slow_client_s=settings.slow_client_s,
        max_piece_chars=int(buffers.policy(DataFlowType.NETWORK_PACKET).need("batch_size")),
    )
    buffers.attach(DataFlowType.NETWORK_PACKET, pace.flows, pace.live)
    return Sentinel(settings, create_app(system, settings, pace), system, service, db, cache, buffers)
