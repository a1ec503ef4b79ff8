"""The gateway that Sentinel mounts (SENTINEL_GATEWAY=1): other programs in the queue of its own questions."""

import structlog

from app.core.settings import Settings
from fluido.gateway import Client, Config, EngineUrl, Gateway, Keys, Shared

from .sentinel_fluido_v2 import engine_urls

log = structlog.get_logger(__name__)


class MountedGateway:
    """A gateway in front of Sentinel's engines. Its keys are Sentinel's, and a key is the same tenant here.

    `shared` are the queues of Sentinel's dispatcher, which is open before this and closed after it.
    """

    def __init__(self, settings: Settings, shared: Shared) -> None:
        headers = {name: value.get_secret_value() for name, value in settings.engine_headers.items()}
        speak_openai, speak_ollama = engine_urls(settings)
        keys = {"openai": settings.openai_api_key, "ollama": settings.ollama_api_key}
        engines = tuple(
            EngineUrl.parse(
                url,
                api=api,
                key=keys[api].get_secret_value(),
                headers=headers,
                slots=settings.engine_slots,
                window=settings.engine_window,
            )
            for api, urls in (("openai", speak_openai), ("ollama", speak_ollama))
            for url in urls
        )
        config = Config(
            engines=engines,
            listen=settings.host,
            port=settings.gateway_port,
            keys=Keys((key, Client(tenant)) for key, tenant in settings.keys().items()),
        )
        self.gateway = Gateway(config, shared=shared)

    async def open(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await self.gateway.open()
        log.info("the gateway listens", address=f"http://{self.gateway.config.listen}:{self.gateway.port}")

    async def close(self) -> None:
        """Listen no more. Idempotent."""
        await self.gateway.close()
