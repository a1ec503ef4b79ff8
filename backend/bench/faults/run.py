"""One fault run: find the capacity, load it to a part, hurt one thing after the other, read what is kept."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import asyncpg
import redis.asyncio as driver

from bench.arrivals import TraceTimed
from bench.faults.faults import Fault, redis_primary
from bench.faults.ledger import Acknowledged, Row, Verdict, judge
from bench.faults.people import People
from bench.faults.scene import Scene
from bench.faults.windows import Cost, Window, cost, median_s
from bench.traces import Trace, load_trace
from embedded import GroundError

CREW = 12
QUIET_S = 8.0
TAKEOVER_S = 40.0
WHOLE_S = 60.0
READ_S = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole run. `leaks` and `torn` name what must not be; empty is what one wants."""

    capacity_per_s: float
    rate_per_s: float
    usual_s: float
    costs: tuple[Cost, ...]
    windows: tuple[Window, ...]
    verdict: Verdict
    leaks: tuple[str, ...]
    torn: tuple[str, ...]
    given_up: tuple[str, ...]
    acknowledged: int
    skipped: dict[str, str]

    @property
    def holds(self) -> bool:
        """Whether something was hurt and nothing came of it. What was left out is told, not judged."""
        return bool(self.windows) and self.verdict.holds and not (self.leaks or self.torn or self.given_up)


def times_s(trace: Trace, rate_per_s: float, count: int, *, seed: int) -> list[float]:
    """When `count` messages come, in seconds; a trace that is too short is begun again, elsewhere in it."""
    times: list[float] = []
    while len(times) < count:
        some = min(count - len(times), len(trace) - 2)
        began_s = times[-1] if times else 0.0
        part = TraceTimed(trace, rate_per_s).offsets_s(some, seed=seed + len(times))
        times += [began_s + offset_s for offset_s in part]
    return times


class Run:
    """Joins a scene, its people and the faults."""

    def __init__(
        self,
        scene: Scene,
        faults: Sequence[Fault],
        *,
        seed: int,
        share: float,
        measure_s: float,
        say: Callable[[str], None],
    ) -> None:
        self._scene = scene
        self._faults = [fault for fault in faults if fault.needs not in scene.missing]
        self._skipped = {
            fault.name: scene.missing[fault.needs] for fault in faults if fault.needs in scene.missing
        }
        self._seed = seed
        self._share = share
        self._measure_s = measure_s
        self._say = say
        self.people = People(scene.topology.url, seed=seed)

    async def __call__(self) -> Outcome:
        people = self.people
        load: asyncio.Task[None] | None = None
        await people.open()
        try:
            await people.crew(CREW, self._measure_s / 2)  # laws and engines find their place
            capacity = await people.crew(CREW, self._measure_s)
            rate = capacity * self._share
            self._say(f"capacity {capacity:.1f} messages/s; the load is {rate:.1f}/s")
            lasting_s = QUIET_S + sum(fault.lasts_s + fault.settle_s + 4.0 for fault in self._faults)
            count = max(1, int(rate * lasting_s * 1.5))
            offsets = times_s(load_trace(), rate, count, seed=self._seed)
            load_began_s = people.now_s
            load = asyncio.create_task(people.come(offsets))
            await asyncio.sleep(QUIET_S)
            usual_s = median_s([one for one in people.notes.tries if one.at_s >= load_began_s])
            windows = [window for fault in self._faults if (window := await self._tried(fault))]
            await _ended(load)
            notes = people.notes
            verdict = await stored(self._scene, self.people)
            leaks = await self._leaks()
        finally:
            await _ended(load)
            await people.close()
        return Outcome(
            capacity,
            rate,
            usual_s,
            tuple(cost(window, notes.tries, usual_s) for window in windows),
            tuple(windows),
            verdict,
            tuple(leaks),
            tuple(notes.torn),
            tuple(notes.given_up),
            len(notes.acknowledged),
            self._skipped,
        )

    async def _tried(self, fault: Fault) -> Window | None:
        """One fault on a whole scene; None and a reason in `skipped` where that cannot be had."""
        missing = await self._missing()
        if missing:
            self._skip(fault, f"{missing} did not work again within {WHOLE_S:.0f} s after what came before")
            return None
        try:
            return await self._hurt(fault)
        except GroundError as error:
            self._skip(fault, f"not finished: {str(error).splitlines()[0]}")
            return None

    def _skip(self, fault: Fault, reason: str) -> None:
        self._skipped[fault.name] = reason
        self._say(f"          {fault.name}: {reason}")

    async def _missing(self) -> str:
        """What is still broken after `WHOLE_S` of patience; empty as soon as nothing is."""
        until_s = time.perf_counter() + WHOLE_S
        while missing := await asyncio.to_thread(self._scene.broken):
            if time.perf_counter() > until_s:
                break
            await asyncio.sleep(0.2)
        return missing

    async def _hurt(self, fault: Fault) -> Window:
        await asyncio.to_thread(self._scene.note_processes)
        before = await stored(self._scene, self.people)
        old = await self._leader(fault.watches)
        began_s = self.people.now_s
        self._say(f"{began_s:6.1f} s  {fault.name}")
        watch = asyncio.create_task(self._taken_over(fault.watches, old))
        await fault.begin(self._scene)
        await asyncio.sleep(fault.lasts_s)
        if fault.end is not None:
            await fault.end(self._scene)
        healed_s = self.people.now_s
        await asyncio.sleep(fault.settle_s)
        if not watch.done():
            watch.cancel()
        taken_s = None
        with suppress(asyncio.CancelledError):
            taken_s = await watch
        after = await stored(self._scene, self.people)
        return Window(
            fault.name,
            began_s,
            healed_s,
            self.people.now_s,
            taken_s,
            len(after.lost) - len(before.lost),
            len(after.doubled) - len(before.doubled),
        )

    async def _leader(self, what: str) -> object:
        if what == "postgres":
            return await asyncio.to_thread(self._scene.topology.primary)
        if what == "redis":
            return await redis_primary(self._scene)
        return None

    async def _taken_over(self, what: str, old: object) -> float | None:
        """When another one than `old` was the primary by its own word."""
        if not what:
            return None
        until_s = time.perf_counter() + TAKEOVER_S
        while time.perf_counter() < until_s:
            if what == "redis":
                found = await self._elected(old)
            else:
                found = await self._promoted(old)
            if found:
                return self.people.now_s
            await asyncio.sleep(0.05)
        return None

    async def _promoted(self, old: object) -> bool:
        for member in self._scene.topology.members:
            if member is not old and await asyncio.to_thread(member.role) == "primary":
                return True
        return False

    async def _elected(self, old: object) -> bool:
        for server in self._scene.topology.redis:
            if server is not old:
                async with driver.Redis(
                    port=server.port, password=server.password, socket_timeout=0.3
                ) as link:
                    with suppress(driver.RedisError, OSError):
                        if (await link.role())[0] in {b"master", "master"}:
                            return True
        return False

    async def _leaks(self) -> list[str]:
        """What is still held when nobody asks any more; asked until it is nothing, at most a minute."""
        found: list[str] = []
        for _ in range(120):
            found = await self._held()
            if not found:
                break
            await asyncio.sleep(0.5)
        return found

    async def _held(self) -> list[str]:
        found: list[str] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3.0)) as session:
            for replica in self._scene.topology.replicas:
                try:
                    buffers = await _json(session, f"{replica.url}/buffers")
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    found.append(f"{replica.name} does not answer: {type(error).__name__}")
                    continue
                for kind, flows in buffers.items():
                    found += [
                        f"{replica.name}: {flow['name']} ({kind}) holds {flow['inflight']}, "
                        f"{flow['waiting']} wait"
                        for flow in flows["flows"]
                        if flow["inflight"] or flow["waiting"]
                    ]
            for engine in self._scene.topology.engines:
                busy = [slot["id"] for slot in await _json(session, f"{engine.url}/slots") if _is_busy(slot)]
                found += [f"{engine.name}: slot {slot} is still working" for slot in busy]
        open_for = await _fetched(
            self._scene,
            "SELECT state, count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'"
            " GROUP BY state",
        )
        return found + [f"PostgreSQL: {row[1]} sessions are {row[0]}" for row in open_for]


async def _fetched(scene: Scene, query: str) -> list[asyncpg.Record]:
    """Rows of the primary, within seconds or with an error."""
    async with asyncio.timeout(READ_S):
        link = await asyncpg.connect(scene.topology.database_url, timeout=2.0)
        try:
            return list(await link.fetch(query))
        finally:
            link.terminate()


async def stored(scene: Scene, people: People) -> Verdict:
    """Read every conversation and compare; what is under way does no harm: it is not acknowledged."""
    told, asked = tuple(people.notes.acknowledged), tuple(people.notes.asked)
    for _ in range(40):
        try:
            # Not in this loop, which carries the people and the links to the engines: it would stand still.
            return await asyncio.to_thread(_judged, scene, told, asked)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            await asyncio.sleep(0.5)
    raise RuntimeError("PostgreSQL did not come back: nothing can be checked")


def _judged(scene: Scene, told: Sequence[Acknowledged], asked: Sequence[str]) -> Verdict:
    rows = asyncio.run(
        _fetched(scene, "SELECT conversation_id, role, content, id, previous_id FROM messages ORDER BY id")
    )
    return judge(
        told,
        asked,
        [Row(str(row[0]), row["role"], row["content"], row["id"], row["previous_id"]) for row in rows],
    )


async def _ended(load: "asyncio.Task[None] | None") -> None:
    """Send everybody home. Idempotent."""
    if load is not None:
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as reply:
        return json.loads(await reply.read())


def _is_busy(slot: dict[str, Any]) -> bool:
    return bool(slot.get("is_processing"))


def with_left_over(outcome: Outcome, left: Sequence[str]) -> Outcome:
    """The outcome with the processes that outlived the scene."""
    return replace(outcome, leaks=(*outcome.leaks, *(f"process {name} is left" for name in left)))
