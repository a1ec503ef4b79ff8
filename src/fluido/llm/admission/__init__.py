"""Admission control of one engine: its queue, permits, health checks and prefix-cache index."""

from fluido.llm.admission._health import Health
from fluido.llm.admission._queue import Reservation, Ticket
from fluido.llm.admission._seats import Order, ResidencyStats, Seat
from fluido.llm.admission._station import Station, adapting

__all__ = [
    "Health",
    "Order",
    "Reservation",
    "ResidencyStats",
    "Seat",
    "Station",
    "Ticket",
    "adapting",
]
