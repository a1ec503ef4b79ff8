"""`python -m embedded.ha -- COMMAND...` runs COMMAND twice with everything behind it twice, until Ctrl-C."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from embedded.errors import GroundError
from embedded.patroni import PatroniMember
from embedded.topology import Topology


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded.ha", description=__doc__)
    parser.add_argument(
        "--port", type=int, default=None, help="of Sentinel behind HAProxy (default: a free one)"
    )
    parser.add_argument("--engine", choices=("smollm2", "synthetic"), default="smollm2")
    parser.add_argument(
        "command", nargs="+", help="the application; it reads PORT, DATABASE_URL, REDIS_URL, OPENAI_URL"
    )
    return parser.parse_args(given)


def say(line: str) -> None:
    print(line, flush=True)


def table(topology: Topology) -> list[str]:
    """What runs where, and how to kill it."""
    rows = [("PART", "ADDRESS", "ROLE", "KILL IT WITH")]
    primary = topology.primary()
    for server in topology.servers:
        role = ""
        if isinstance(server, PatroniMember):
            role = "primary" if server is primary else "standby"
        elif server in topology.redis:
            role = "primary at start" if server is topology.redis[0] else "replica at start"
        pid = server.child.pid if server.child is not None else None
        rows.append((server.name, f"127.0.0.1:{server.port}", role, f"kill -9 {pid}"))
        if isinstance(server, PatroniMember):
            rows.append(("  only its PostgreSQL", "", "", f"kill -9 {server.postmaster()}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def main() -> int:
    wishes = arguments()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    began_s = time.perf_counter()
    topology = Topology(
        wishes.command,
        home=Path.cwd(),
        environment={name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        engine=wishes.engine,
        port=wishes.port,
        say=say,
    )
    say("Starting two of everything (half a minute)")
    try:
        with topology:
            for line in table(topology):
                say(line)
            say(f"Sentinel answers at {topology.url}; logs in {topology.data.path / 'log'}")
            say(f"Ready in {time.perf_counter() - began_s:.0f} s.")
            say("What you kill comes back after 3 s. Ctrl-C stops everything.")
            ended.wait()
    except GroundError as error:
        print(error, file=sys.stderr)
        return 1
    say("Stopped; nothing is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
