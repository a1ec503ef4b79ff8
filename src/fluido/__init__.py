"""Adaptive flow control for asyncio, with drop-ins for redis-py, SQLAlchemy and LLM engines."""

from fluido.errors import BufferFull, Closed, EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.flow.gate import Gate
from fluido.flow.label import current_label, label
from fluido.flow.limiter import Limiter
from fluido.laws.fixed import Fixed
from fluido.sample import Outcome, Sample

__all__ = [
    "BufferFull",
    "Closed",
    "EngineUnavailable",
    "Fixed",
    "FluidoError",
    "Gate",
    "LimitReached",
    "Limiter",
    "Outcome",
    "Sample",
    "WaitTimeout",
    "current_label",
    "label",
]
