"""Language models behind one queue: engines in, deltas and timings out. Needs `fluido[llm]` (aiohttp)."""

from fluido.extras import need

need("llm", "aiohttp")

from fluido.llm.address import address as engine_address
from fluido.llm.address import shown as shown_address
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
from fluido.llm.figures import EngineFigures
from fluido.llm.figures import figures as engine_figures
from fluido.llm.kind import detect
from fluido.llm.modelfile import keep_alive_of, modelfile_parameters
from fluido.llm.ollama import OllamaEngine
from fluido.llm.openai import OpenAIEngine
from fluido.llm.presets import Presets, thinking_bound
from fluido.llm.profile import RunnerProfile, Wishes, runner_part
from fluido.llm.queue import Reservation
from fluido.llm.silence import Patience
from fluido.llm.station import Station

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
    "EngineFigures",
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
    "Reservation",
    "RunnerProfile",
    "SlotState",
    "Station",
    "StreamBroken",
    "Timings",
    "Wishes",
    "detect",
    "engine_address",
    "engine_figures",
    "keep_alive_of",
    "modelfile_parameters",
    "runner_part",
    "shown_address",
    "thinking_bound",
]
