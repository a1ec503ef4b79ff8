"""Admission control of one engine: its queue, permits, health checks and prefix-cache index."""

from fluido.llm.admission._health import Health
from fluido.llm.admission._limit import adapting
from fluido.llm.admission._queue import Reservation
from fluido.llm.admission._seats import Demand, ResidencyStats, Seat
from fluido.llm.admission._station import Station

__all__ = [
    "Demand",
    "Health",
    "Reservation",
    "ResidencyStats",
    "Seat",
    "Station",
    "adapting",
]
