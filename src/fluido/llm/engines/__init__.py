"""Clients of inference engines: Ollama and OpenAI-compatible servers, what they say and how they refuse."""

from fluido.llm.engines._address import address, shown
from fluido.llm.engines._catalog import is_for_chat, listed, near, told_window
from fluido.llm.engines._guard import Faults, guarded
from fluido.llm.engines._modelfile import keep_alive_of, modelfile_parameters, trained_tokens
from fluido.llm.engines._ollama import OllamaEngine
from fluido.llm.engines._openai import OpenAIEngine
from fluido.llm.engines._refusals import (
    NO_KEY,
    is_error,
    memory_is_full,
    names_no_model,
    prompt_too_long,
    refused_by_status,
    runner_is_gone,
    text_of,
)
from fluido.llm.engines._transport import Transport, error_in, error_of, retry_after_s
from fluido.llm.engines._wire import lines, mapping, number, text

__all__ = [
    "NO_KEY",
    "Faults",
    "OllamaEngine",
    "OpenAIEngine",
    "Transport",
    "address",
    "error_in",
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
    "names_no_model",
    "near",
    "number",
    "prompt_too_long",
    "refused_by_status",
    "retry_after_s",
    "runner_is_gone",
    "shown",
    "text",
    "text_of",
    "told_window",
    "trained_tokens",
]
