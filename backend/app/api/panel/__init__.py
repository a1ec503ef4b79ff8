"""The live page: one frame a second of every flow, made once and sent to all who look."""

from .feed import Feed
from .frame import Frames
from .routes import panel_router

__all__ = ["Feed", "Frames", "panel_router"]
