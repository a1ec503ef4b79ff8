"""What can be done to each part, and how it is undone."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis.asyncio as driver

from bench.faults.scene import Scene
from embedded import Redis
from embedded.patroni import PatroniMember
from embedded.server import Server

Act = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`begin` hurts, `end` heals after `lasts_s` (None: the part comes back by itself); then it may settle.

    `needs` names what must be possible here; `watches` whose new primary is waited for.
    """

    name: str
    begin: Act
    lasts_s: float = 0.0
    end: Act | None = None
    settle_s: float = 10.0
    needs: str = ""
    watches: str = ""


async def killed(server: Server) -> None:
    assert server.child is not None  # noqa: S101 - the topology runs
    await asyncio.to_thread(server.child.kill)


def primary(scene: Scene) -> PatroniMember:
    found = scene.topology.primary()
    if found is None:
        raise RuntimeError("no PostgreSQL is the primary now: the fault before has not healed")
    return found


def standby(scene: Scene) -> PatroniMember:
    leader = primary(scene)
    return next(member for member in scene.topology.members if member is not leader)


async def redis_primary(scene: Scene) -> Redis | None:
    """The first that says it is; None while nobody does."""
    for server in scene.topology.redis:
        async with driver.Redis(port=server.port, password=server.password, socket_timeout=0.3) as link:
            with suppress(driver.RedisError, OSError):
                if (await link.role())[0] in {b"master", "master"}:
                    return server
    return None


def family(member: PatroniMember) -> list[psutil.Process]:
    """The postmaster of a member and its processes."""
    with suppress(psutil.Error):
        postmaster = psutil.Process(member.postmaster())
        return [postmaster, *postmaster.children(recursive=True)]
    return []


class Hang:
    """SIGSTOP to a part and SIGCONT to the same processes later."""

    def __init__(self, who: Callable[[Scene], Awaitable[Sequence[int]]]) -> None:
        self._who = who
        self._stopped: list[int] = []

    async def begin(self, scene: Scene) -> None:
        self._stopped = list(await self._who(scene))
        self._send(signal.SIGSTOP)

    async def end(self, _scene: Scene) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for pid in self._stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def hanging(name: str, who: Callable[[Scene], Awaitable[Sequence[int]]], lasts_s: float) -> Fault:
    hang = Hang(who)
    return Fault(name, hang.begin, lasts_s, hang.end)


async def _redis_primary_pid(scene: Scene) -> list[int]:
    server = await redis_primary(scene)
    return [server.child.pid] if server and server.child and server.child.pid else []


async def _replica_pid(scene: Scene) -> list[int]:
    child = scene.topology.replicas[0].child
    return [child.pid] if child and child.pid else []


async def _engine_pid(scene: Scene) -> list[int]:
    child = scene.topology.engines[0].child
    return [child.pid] if child and child.pid else []


async def _postgres_pids(scene: Scene) -> list[int]:
    return [process.pid for process in family(primary(scene))]


async def _kill_postmaster(scene: Scene) -> None:
    pid = primary(scene).postmaster()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


async def _kill_redis(scene: Scene) -> None:
    server = await redis_primary(scene)
    if server is not None:
        await killed(server)


async def roll(scene: Scene) -> None:
    """Every replica in turn, as an upgrade does it: SIGTERM, wait, start, wait until it is ready."""
    for replica in scene.topology.replicas:
        await asyncio.to_thread(replica.stop)
        await asyncio.to_thread(replica.start)
        await asyncio.sleep(1.0)  # the balancer looks every 200 ms at what was out


async def _cut(scene: Scene) -> None:
    for wire in scene.wires.values():
        wire.cut()


def _delay(delay_s: float) -> Act:
    async def slow(scene: Scene) -> None:
        for name in ("postgres", "redis"):
            scene.wires[name].delay_s = delay_s

    return slow


def _step(seconds: int) -> Act:
    async def step(scene: Scene) -> None:
        scene.clock.step(seconds)

    return step


async def _fill(scene: Scene) -> None:
    scene.fill_disk(primary(scene).folder)


async def _free(scene: Scene) -> None:
    scene.free_disk()


def short() -> list[Fault]:
    """The two minutes of CI: what happens most, once each."""
    return [
        Fault("engine killed", lambda scene: killed(scene.topology.engines[0]), settle_s=8.0),
        Fault("Redis primary killed", _kill_redis, settle_s=9.0, watches="redis"),
        Fault("replica killed", lambda scene: killed(scene.topology.replicas[0]), settle_s=11.0),
        Fault("PostgreSQL primary killed", _kill_postmaster, settle_s=13.0, watches="postgres"),
        Fault("rolling restart", roll, settle_s=4.0),
        Fault("connections reset", _cut, settle_s=6.0),
    ]


def long() -> list[Fault]:
    """Everything, once each."""
    return [
        *short(),
        hanging("engine hangs", _engine_pid, 12.0),
        hanging("Redis primary hangs", _redis_primary_pid, 8.0),
        hanging("replica hangs", _replica_pid, 8.0),
        hanging("PostgreSQL primary hangs", _postgres_pids, 8.0),
        Fault("PostgreSQL standby killed", lambda scene: killed(standby(scene)), settle_s=20.0),
        Fault(
            "PostgreSQL node killed", lambda scene: killed(primary(scene)), settle_s=45.0, watches="postgres"
        ),
        Fault("balancer killed", lambda scene: killed(scene.topology.haproxy), settle_s=10.0),
        Fault("network slow (100 ms)", _delay(0.05), 12.0, _delay(0.0)),
        Fault("clock of replicas +1 h", _step(3600), 10.0, _step(0), needs="clock"),
        Fault("clock of replicas -1 h", _step(-3600), 10.0, _step(0), needs="clock"),
        Fault("disk of PostgreSQL full", _fill, 10.0, _free, settle_s=40.0, needs="disk", watches="postgres"),
    ]


def shuffled(faults: Sequence[Fault], seed: int) -> list[Fault]:
    """The order of this seed."""
    order = list(faults)
    random.Random(seed).shuffle(order)
    return order
