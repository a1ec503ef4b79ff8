"""HTTP in front of a `System`: routes, bodies, bounds and the one map from errors to answers."""

from .application import create_app

__all__ = ["create_app"]
