"""Sentinel promotes the replica of a primary that died, and clients are led to it."""

import threading
import time
from pathlib import Path

import pytest
import redis as driver
from redis.sentinel import Sentinel as Client

from embedded.redis import Redis
from embedded.redis_sentinel import RedisSentinel

pytestmark = pytest.mark.servers


def test_a_replica_is_promoted(open_folder: Path) -> None:
    primary = Redis(open_folder)
    primary.start()
    replica = primary.replica()
    sentinel = RedisSentinel(open_folder, primary, down_after_ms=200)
    try:
        replica.start()
        sentinel.start()
        with driver.Redis.from_url(primary.url()) as link:
            link.set("kept", "1")
            assert link.wait(1, 5000) == 1
        client = Client([("127.0.0.1", sentinel.port)], password=primary.password, socket_timeout=2)
        assert client.discover_master("mymaster") == ("127.0.0.1", primary.port)
        wait_for(lambda: client.discover_slaves("mymaster") == [("127.0.0.1", replica.port)])

        assert primary.child is not None
        primary.child.kill()
        wait_for(lambda: client.discover_master("mymaster") == ("127.0.0.1", replica.port))
        with client.master_for("mymaster") as link:
            assert link.get("kept") == b"1"
            wait_for(lambda: link.set("taken", "1"))
    finally:
        for server in (sentinel, replica, primary):
            server.stop()


def wait_for(happens: object, wait_s: float = 20.0) -> None:
    """Real servers decide when: look again until they did."""
    until = time.monotonic() + wait_s
    pause = threading.Event()
    while time.monotonic() < until:
        try:
            if callable(happens) and happens():
                return
        except driver.exceptions.RedisError:
            pass
        pause.wait(0.05)
    raise AssertionError("it did not happen")
