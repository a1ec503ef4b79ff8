"""Clients of inference engines: Ollama and OpenAI-compatible servers, what they say and how they refuse."""

from fluido.llm.engines._address import address, shown
from fluido.llm.engines._catalog import is_for_chat, listed, near, told_window
from fluido.llm.engines._guard import Faults, guarded
from fluido.llm.engines._modelfile import keep_alive_of, modelfile_parameters, trained_tokens
from fluido.llm.engines._ollama import OllamaEngine
from fluido.llm.engines._openai import OpenAIEngine
from fluido.llm.engines._refusals import (
    BUSY,
    BUSY_RETRY_S,
    NO_KEY,
    is_error,
    memory_is_full,
    prompt_too_long,
    text_of,
)
from fluido.llm.engines._transport import Transport, error_of
from fluido.llm.engines._wire import lines, mapping, number, text

__all__ = [
    "BUSY",
    "BUSY_RETRY_S",
    "NO_KEY",
    "Faults",
    "OllamaEngine",
    "OpenAIEngine",
    "Transport",
    "address",
    "error_of",
    "guarded",
    "is_error",
    "is_for_chat",
    "keep_alive_of",
    "lines",
    "listed",
    "mapping",
    "memory_is_full",
    "modelfile_parameters",
    "near",
    "number",
    "prompt_too_long",
    "shown",
    "text",
    "text_of",
    "told_window",
    "trained_tokens",
]
