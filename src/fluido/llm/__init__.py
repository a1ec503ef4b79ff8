"""Language models behind one queue: engines in, deltas and timings out. Needs `fluido[llm]` (aiohttp)."""

from fluido._extras import need

need("llm", "aiohttp")

from fluido.llm._answers import Answers
from fluido.llm._call import Call, Delta, Kind, Lane, Message, Options, Timings
from fluido.llm._dispatcher import Dispatcher, LlmStats
from fluido.llm._engine import Engine, EngineFacts, Pulse, SlotState
from fluido.llm._errors import (
    CacheFull,
    CallFailed,
    CallRejected,
    EmptyAnswer,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
)
from fluido.llm._figures import EngineFigures
from fluido.llm._figures import figures as engine_figures
from fluido.llm._profile import RunnerProfile, Wishes, runner_part
from fluido.llm._silence import Patience
from fluido.llm.admission import Reservation, Station
from fluido.llm.engines import OllamaEngine, OpenAIEngine, keep_alive_of, modelfile_parameters
from fluido.llm.engines import address as engine_address
from fluido.llm.engines import shown as shown_address
from fluido.llm.prompt import Budget, Presets, detect, thinking_bound

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
