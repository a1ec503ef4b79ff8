"""Laws, the controllers: pure arithmetic that decides. Samples in, a value and its reason out."""

from fluido.laws.base import Decision, Law
from fluido.laws.batch_cap import BatchCap
from fluido.laws.brake import Brake
from fluido.laws.engine_limit import EngineLimit
from fluido.laws.fetch import Fetch
from fluido.laws.fixed import Fixed
from fluido.laws.fleet import Fleet
from fluido.laws.ladder import Ladder
from fluido.laws.lanes import Lanes
from fluido.laws.rungs import Memory
from fluido.laws.stream_gap import StreamGap

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
