"""LLM gateway: a reverse proxy for Ollama and OpenAI clients with the queue behind it (`fluido[gateway]`)."""

from fluido._extras import need

need("gateway", "aiohttp", "httptools", "msgspec")
