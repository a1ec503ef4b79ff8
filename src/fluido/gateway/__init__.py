"""LLM gateway: a reverse proxy for Ollama and OpenAI clients with the queue behind it (`fluido[gateway]`)."""

from fluido._extras import need

need("gateway", "aiohttp", "httptools", "msgspec")

from fluido.gateway._app import Gateway
from fluido.gateway._config import BadConfig, Config, EngineUrl
from fluido.gateway._keys import Client, Keys
from fluido.gateway._shared import Shared

__all__ = ["BadConfig", "Client", "Config", "EngineUrl", "Gateway", "Keys", "Shared"]
