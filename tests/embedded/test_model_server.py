"""How a server of a model is cut when nobody says how."""

import os
from pathlib import Path

from embedded.engine import Engine
from embedded.model_server import EngineOptions
from embedded.synthetic import synthetic


def test_one_core_is_left_to_the_others(tmp_path: Path) -> None:
    """Threads of llama.cpp spin while they wait for each other: one on each core stalls."""
    assert Engine(tmp_path, synthetic()).threads == max(1, (os.cpu_count() or 2) - 1)
    assert Engine(tmp_path, synthetic(), EngineOptions(threads=3)).threads == 3
