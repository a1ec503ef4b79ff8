"""Adaptive flow control for asyncio, with drop-ins for redis-py, SQLAlchemy and LLM engines."""

from fluido.errors import BufferFull, Closed, EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.flow.batcher import Batcher
from fluido.flow.gate import Gate
from fluido.flow.label import current_label, label
from fluido.flow.lanes import LanedGate
from fluido.flow.limiter import Limiter
from fluido.flow.stream import StreamCoalescer
from fluido.flow.write_behind import WriteBehind
from fluido.laws.fixed import Fixed
from fluido.sample import Outcome, Sample

__version__ = "0.1.0"

__all__ = [
    "Batcher",
    "BufferFull",
    "Closed",
    "EngineUnavailable",
    "Fixed",
    "FluidoError",
    "Gate",
    "LanedGate",
    "LimitReached",
    "Limiter",
    "Outcome",
    "Sample",
    "StreamCoalescer",
    "WaitTimeout",
    "WriteBehind",
    "__version__",
    "current_label",
    "label",
]
