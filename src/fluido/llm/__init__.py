"""Language models behind one queue: engines in, deltas and timings out. Needs `fluido[llm]` (aiohttp)."""

from fluido.extras import need

need("llm", "aiohttp")

from fluido.llm.answers import Answers
from fluido.llm.budget import Budget
from fluido.llm.call import Call, Delta, Kind, Lane, Message, Options, Timings
from fluido.llm.dispatcher import Dispatcher, LlmStats
from fluido.llm.engine import Engine, EngineFacts, Pulse, SlotState
from fluido.llm.errors import (
    CacheFull,
    CallFailed,
    CallRejected,
    EmptyAnswer,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
)
from fluido.llm.kind import detect
from fluido.llm.ollama import OllamaEngine
from fluido.llm.openai import OpenAIEngine
from fluido.llm.presets import Presets
from fluido.llm.profile import RunnerProfile, Wishes, runner_part
from fluido.llm.silence import Patience

__all__ = [
    "Answers",
    "Budget",
    "CacheFull",
    "Call",
    "CallFailed",
    "CallRejected",
    "Delta",
    "Dispatcher",
    "EmptyAnswer",
    "Engine",
    "EngineBusy",
    "EngineFacts",
    "Kind",
    "Lane",
    "LlmStats",
    "Message",
    "ModelMissing",
    "OllamaEngine",
    "OpenAIEngine",
    "Options",
    "Patience",
    "Presets",
    "PromptTooLong",
    "Pulse",
    "RunnerProfile",
    "SlotState",
    "StreamBroken",
    "Timings",
    "Wishes",
    "detect",
    "runner_part",
]
