"""Loopback ports for servers, away from those that the system hands to outgoing connections.

A server of a topology is told its port long before it listens there: its partners must know it. A port of
the system's own range may meanwhile become the source of any connection, and is then refused to the server.
"""

import secrets
import socket
import threading
from contextlib import closing
from pathlib import Path

LOWEST = 10_000
OUTGOING_FROM = 32_768
"""Where Linux begins with outgoing connections unless told otherwise; other systems begin higher."""
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
FEWEST = 2_000
TRIES = 100


def outgoing_from(settings: Path = OUTGOING) -> int:
    """The lowest port that this system gives to outgoing connections."""
    try:
        return min(int(settings.read_text().split()[0]), OUTGOING_FROM)
    except (OSError, ValueError, IndexError):
        return OUTGOING_FROM


class Ports:
    """Walks through [LOWEST, `end`) from a random place, so that neither this process nor another that does
    the same is likely to meet a port that somebody waits to use."""

    def __init__(self, end: int, *, start: int | None = None) -> None:
        self._end = end
        self._next = LOWEST + secrets.randbelow(end - LOWEST) if start is None else start
        self._changing = threading.Lock()

    def take(self) -> int | None:
        """A port that nobody uses now and that this walk has not given; None after `TRIES` used ones."""
        for _ in range(TRIES):
            with self._changing:
                port = self._next
                self._next = port + 1 if port + 1 < self._end else LOWEST
            if is_free(port):
                return port
        return None


def is_free(port: int) -> bool:
    """Whether a server may listen at this loopback port now."""
    with closing(socket.socket()) as probe:
        # as servers do: a port whose last connections are still fading is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_end = outgoing_from()
_ports = Ports(_end) if _end - LOWEST >= FEWEST else None


def free_port() -> int:
    """A loopback port that nobody uses now; a server that loses the race says so and is given another."""
    port = _ports.take() if _ports is not None else None
    if port is not None:
        return port
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections at this loopback port now."""
    with closing(socket.socket()) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
