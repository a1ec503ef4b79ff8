"""Ports are outside the system's own range, not given twice, and not those that somebody uses."""

import socket
from pathlib import Path

import pytest

from embedded import ports as ports_module
from embedded.ports import LOWEST, OUTGOING_FROM, Ports, free_port, is_free, listens, outgoing_from


@pytest.mark.parametrize(
    ("said", "found"),
    [("32768\t60999\n", 32768), ("15000 61000", 15000), ("49152 65535", OUTGOING_FROM), ("", OUTGOING_FROM)],
)
def test_reads_where_outgoing_connections_begin(tmp_path: Path, said: str, found: int) -> None:
    (tmp_path / "range").write_text(said)
    assert outgoing_from(tmp_path / "range") == found


def test_a_system_that_does_not_say_is_taken_to_begin_where_linux_does(tmp_path: Path) -> None:
    assert outgoing_from(tmp_path / "absent") == OUTGOING_FROM


def test_no_port_is_given_twice_before_the_walk_ends() -> None:
    ports = Ports(LOWEST + 300, start=LOWEST + 290)
    given = [ports.take() for _ in range(200)]
    assert None not in given
    assert len(set(given)) == 200
    assert all(LOWEST <= port < LOWEST + 300 for port in given if port is not None)


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        used = server.getsockname()[1]
        assert not is_free(used)
        assert listens(used)
        assert Ports(used + 1, start=used).take() != used
    assert not listens(used)


def test_says_so_when_every_port_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports_module, "is_free", lambda _port: False)
    assert Ports(LOWEST + 300).take() is None
    assert free_port() > 0  # the system's own choice is left


def test_the_system_never_takes_a_given_port_for_a_connection() -> None:
    if outgoing_from() - LOWEST < 2_000:
        pytest.skip("this system gives nearly every port to outgoing connections")
    assert all(LOWEST <= free_port() < outgoing_from() for _ in range(50))
