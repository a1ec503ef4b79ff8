"""`python -m bench.faults.streams`: the memory of one replica with 2,000 idle and 200 active streams.

Idle: a person who had an answer as a stream over a connection that stays open, and reads it. Active: one who
asks again as soon as the answer is there. Policy bounds how many answers may wait (256 an engine), so 2,000
at a time can only be people between two messages. Exit code 1 when one of them lost the connection.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

import psutil

from bench.environment import describe
from bench.faults.people import People
from bench.faults.record import UNPLAYABLE, played
from bench.faults.scene import ROOT, Scene

IDLE, ACTIVE = 2_000, 200
LASTING_S = 40.0
AT_ONCE = 16
"""Idle people come no faster: each has to be answered once."""
AGAIN_S = 30.0
"""How often an idle browser asks for something small: the replica closes what is silent for 75 s."""
ANSWER_S = 120.0


class Person:
    """One connection to a replica, used for one request after the other."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None

    async def chat(self) -> None:
        """Connect and have one short answer as a stream; RuntimeError when it was none."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        body = json.dumps(
            {"user_id": self._name, "message": "hello", "max_output_tokens": 1, "deadline_s": ANSWER_S}
        ).encode()
        said = await self._exchange(b"POST /chat/stream", body)
        if b"event: done" not in said:
            raise RuntimeError(f"{self._name} was not answered: {said[:200]!r}")

    async def stay(self) -> None:
        """Ask for something small again and again over the same connection, until it is lost (an error)."""
        while True:
            await asyncio.sleep(AGAIN_S)
            await self._exchange(b"GET /health/live", b"")

    def leave(self) -> None:
        if self._writer is not None:
            self._writer.close()

    async def _exchange(self, line: bytes, body: bytes) -> bytes:
        assert self._writer is not None, "chat() first"  # noqa: S101 - a mistake of the suite itself
        head = (
            b"%s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        self._writer.write(head % (line, len(body)) + body)
        async with asyncio.timeout(ANSWER_S):
            told = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in told:
                return await self._reader.readuntil(b"\r\n0\r\n\r\n")
            length = int(told.partition(b"content-length:")[2].partition(b"\r\n")[0])
            return await self._reader.readexactly(length)


class Crowd:
    """Idle people. Each was answered once and stays connected."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._people: list[Person] = []
        self._staying: list[asyncio.Task[None]] = []

    @property
    def lost(self) -> int:
        """How many lost their connection."""
        return sum(task.done() for task in self._staying)

    async def come(self, count: int) -> None:
        """`count` more; the first that is not answered is an error."""
        room = asyncio.Semaphore(AT_ONCE)
        begin = len(self._people)
        newcomers = [Person(self._port, f"idle-{begin + number}") for number in range(count)]
        self._people += newcomers

        async def enter(person: Person) -> None:
            async with room:
                await person.chat()
            self._staying.append(asyncio.create_task(person.stay()))

        await asyncio.gather(*(enter(person) for person in newcomers))

    async def leave(self) -> None:
        for task in self._staying:
            task.cancel()
        await asyncio.gather(*self._staying, return_exceptions=True)
        for person in self._people:
            person.leave()


def connections(process: psutil.Process, port: int) -> int:
    """How many clients are connected to the replica now."""
    return sum(
        one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port
        for one in process.net_connections("tcp")
    )


def mib(process: psutil.Process) -> float:
    return round(float(process.memory_info().rss) / (1 << 20), 1)


async def peak(process: psutil.Process, port: int, readings: list[tuple[float, int]]) -> None:
    while True:
        readings.append((mib(process), connections(process, port)))
        await asyncio.sleep(1.0)


async def play(idle: int, active: int, lasting_s: float, out: Path) -> dict[str, object]:
    async with Scene(needs_disk=False, needs_clock=False, logs=out / "log") as scene:
        replica = scene.topology.replicas[0]
        assert replica.child is not None  # noqa: S101 - the topology runs
        process = psutil.Process(replica.child.pid)
        port = replica.port
        crowd = Crowd(port)
        people = People(replica.url, seed=1, patience_s=60.0)
        await people.open()
        readings: list[tuple[float, int]] = []
        try:
            await crowd.come(AT_ONCE)  # what every replica allocates once
            fresh_mib = mib(process)
            await crowd.come(idle - AT_ONCE)
            idle_mib, idle_connected = mib(process), connections(process, port)
            watching = asyncio.create_task(peak(process, port, readings))
            rate = await people.crew(active, lasting_s)
            watching.cancel()
            lost = crowd.lost
        finally:
            await people.close()
            await crowd.leave()
    failed = [one.error for one in people.notes.tries if one.error]
    return {
        "environment": asdict(describe()),
        "idle": idle,
        "active": active,
        "fresh_mib": fresh_mib,
        "idle_mib": idle_mib,
        "idle_connected": idle_connected,
        "peak_mib": max(memory for memory, _ in readings),
        "peak_connected": max(count for _, count in readings),
        "messages_per_s": round(rate, 1),
        "answered": len(people.notes.acknowledged),
        "failed": len(failed),
        "connections_lost": lost,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.faults.streams", description=__doc__)
    parser.add_argument("--idle", type=int, default=IDLE, help="people (%(default)s)")
    parser.add_argument("--active", type=int, default=ACTIVE, help="people (%(default)s)")
    parser.add_argument("--seconds", type=float, default=LASTING_S, help="of the active (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "faults", help="folder (%(default)s)")
    wishes = parser.parse_args()
    record = played(play(wishes.idle, wishes.active, wishes.seconds, wishes.out), wishes.out / "streams.json")
    if record is None:
        return UNPLAYABLE
    print({name: value for name, value in record.items() if name != "environment"})
    return 1 if record["connections_lost"] or record["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
