"""Laws, the controllers: pure arithmetic that decides. Samples in, a value and its reason out."""

from fluido.laws._base import Decision, Law
from fluido.laws._batch_cap import BatchCap
from fluido.laws._brake import Brake
from fluido.laws._engine_limit import EngineLimit
from fluido.laws._fetch import Fetch
from fluido.laws._fixed import Fixed
from fluido.laws._fleet import Fleet
from fluido.laws._ladder import Ladder
from fluido.laws._lanes import Lanes
from fluido.laws._rungs import Memory
from fluido.laws._stream_gap import StreamGap

__all__ = [
    "BatchCap",
    "Brake",
    "Decision",
    "EngineLimit",
    "Fetch",
    "Fixed",
    "Fleet",
    "Ladder",
    "Lanes",
    "Law",
    "Memory",
    "StreamGap",
]
