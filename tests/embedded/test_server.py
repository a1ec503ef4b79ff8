"""A port that is lost is replaced; one that was asked for and is taken is a sentence."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedded import server
from embedded.engine import Engine
from embedded.errors import GroundError
from embedded.postgres import Postgres
from embedded.redis import Redis
from embedded.server import Server
from embedded.synthetic import synthetic

pytestmark = pytest.mark.servers
Make = Callable[[Path, int | None], Server]
KINDS: list[Make] = [
    lambda folder, port: Redis(folder, port=port),
    lambda folder, port: Engine(folder, synthetic(), port=port),
    lambda folder, port: Postgres(folder, port=port, durable=False),
]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.mark.parametrize("make", KINDS, ids=["redis", "engine", "postgres"])
def test_a_taken_port_is_one_sentence(open_folder: Path, taken: int, make: Make) -> None:
    asked = make(open_folder, taken)
    with pytest.raises(GroundError, match=f"^Port {taken} for .* is taken by another program: stop it or"):
        asked.start()
    assert not asked.running


def test_a_port_that_is_lost_is_replaced(
    open_folder: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [taken]
    fresh = server.free_port
    monkeypatch.setattr(server, "free_port", lambda: ports.pop() if ports else fresh())
    unlucky = Redis(open_folder)
    try:
        unlucky.start()
        assert unlucky.port != taken
        assert not ports
    finally:
        unlucky.stop()


def test_a_port_is_known_after_the_first_start_only(open_folder: Path) -> None:
    with pytest.raises(GroundError, match="has no port before its first start"):
        _ = Redis(open_folder).port
