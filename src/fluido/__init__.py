"""Adaptive flow control for asyncio, with drop-ins for redis-py, SQLAlchemy and LLM engines.

This module is the door to the mechanism: limiters, gates, batchers, buffers, streams, and the nouns that all
parts share. `fluido.laws` is the door to the laws; `fluido.redis`, `fluido.sqlalchemy` and `fluido.llm` are
those to the drop-ins. What is behind a door may change without notice.
"""

from fluido._metrics import DecisionLog, FlowStats, Histogram, Meter
from fluido._sample import Outcome, Sample
from fluido.errors import BufferFull, Closed, EngineUnavailable, FluidoError, LimitReached, WaitTimeout
from fluido.flow._adaptive import adaptive_limiter
from fluido.flow._batcher import Batcher
from fluido.flow._gate import Gate
from fluido.flow._label import current_label, label
from fluido.flow._lanes import LanedGate
from fluido.flow._limiter import Limiter
from fluido.flow._loop_lag import LoopLag
from fluido.flow._permit import Permit
from fluido.flow._spans import part as span
from fluido.flow._stream import StreamCoalescer
from fluido.flow._write_behind import WriteBehind
from fluido.laws._base import Decision, Law
from fluido.laws._fixed import Fixed
from fluido.laws._ladder import Ladder

__version__ = "0.1.0"

__all__ = [
    "Batcher",
    "BufferFull",
    "Closed",
    "Decision",
    "DecisionLog",
    "EngineUnavailable",
    "Fixed",
    "FlowStats",
    "FluidoError",
    "Gate",
    "Histogram",
    "Ladder",
    "LanedGate",
    "Law",
    "LimitReached",
    "Limiter",
    "LoopLag",
    "Meter",
    "Outcome",
    "Permit",
    "Sample",
    "StreamCoalescer",
    "WaitTimeout",
    "WriteBehind",
    "__version__",
    "adaptive_limiter",
    "current_label",
    "label",
    "span",
]
