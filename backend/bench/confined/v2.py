"""Sentinel in a schema and under a key prefix of its own: `bench.confined.v2:app`."""

import os

from app.core.settings import Settings
from app.server import application
from bench.confined import PREFIX_VARIABLE

app = application(Settings(), namespace=os.environ[PREFIX_VARIABLE])
