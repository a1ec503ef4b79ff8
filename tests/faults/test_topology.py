"""Everything twice: a message through the balancer, the primary dies, the message is still there."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

import embedded
from embedded.errors import GroundError
from embedded.haproxy import program

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _tools() -> None:
    pytest.importorskip(
        "patroni", reason="Patroni (requirements/ha.txt) is absent: failover is NOT tested here"
    )
    try:
        program()
    except GroundError as error:
        pytest.skip(f"{error} The topology is NOT tested here.")


def ask(url: str, message: str, conversation: str | None = None) -> httpx.Response:
    body = {"user_id": "ana", "message": message, "max_output_tokens": 4, "conversation_id": conversation}
    try:
        return httpx.post(f"{url}/chat", json=body, timeout=10.0)
    except httpx.HTTPError:
        return httpx.Response(503)


def until_answered(url: str, message: str, conversation: str, within_s: float) -> None:
    ends_s = time.monotonic() + within_s
    while ask(url, message, conversation).status_code != 200:
        assert time.monotonic() < ends_s, f"no answer within {within_s} s"
        time.sleep(0.1)


def until(holds: Callable[[], bool], within_s: float) -> None:
    ends_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_s, f"not within {within_s} s"
        time.sleep(0.1)


def test_the_primary_dies_and_nothing_acknowledged_is_lost() -> None:
    python_path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")])
    topology = embedded.Topology(
        [sys.executable, "-m", "app", "serve"],
        home=ROOT / "backend",
        environment={"PYTHONPATH": python_path},
    )
    others = psutil.Process().children(recursive=True)  # the shared servers of this session
    with topology:
        running = [process for process in psutil.Process().children(recursive=True) if process not in others]
        conversation = ask(topology.url, "one").json()["conversation_id"]
        # without a synchronous standby Patroni starts the dead one again, as it should
        until(lambda: any(member.says().get("sync_standby") for member in topology.members), 30.0)
        old = topology.primary()
        assert old is not None
        assert old.child is not None
        postmaster = old.postmaster()
        assert postmaster is not None
        os.kill(postmaster, 9)
        until_answered(topology.url, "two", conversation, 20.0)
        found = httpx.get(f"{topology.url}/conversations/{conversation}", params={"user_id": "ana"}).json()
        said = [message["content"] for message in found["messages"] if message["role"] == "user"]
        assert said[0] == "one"
        assert said[-1] == "two"
        # the one that died goes on calling itself the primary until its Patroni has looked
        until(lambda: topology.primary() not in {old, None}, 20.0)
    assert not [process for process in running if process.is_running()]
