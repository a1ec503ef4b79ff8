"""What is said about the machine, and what is not."""

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path

from bench.environment import ThisMachine, describe


def test_the_description_names_code_and_machine_but_nobody() -> None:
    found = asdict(describe(("PostgreSQL 18 (embedded)",)))
    text = json.dumps(found)
    assert found["cores"] >= 1
    assert found["versions"]["numpy"]
    assert found["ground"] == ("PostgreSQL 18 (embedded)",)
    assert str(Path.cwd()) not in text
    assert str(Path.home()) + os.sep not in text
    assert f'"{socket.gethostname()}"' not in text


def test_readings_are_shares() -> None:
    reading = ThisMachine().look()
    assert 0 <= reading.busy <= 1
    assert 0 <= reading.steal <= 1
    assert reading.load_1m >= 0
