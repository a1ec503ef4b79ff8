"""V1 in a schema of its own on somebody else's server: `bench.confined_v1:app`."""

import bench.confined  # noqa: F401 - its engines enter the schema
from bench.v1.main import app

__all__ = ["app"]
