"""Random scenarios for the shared connection, and what must hold in every one of them.

`play(seed)` builds a scenario from the seed and returns the sentences about what did not hold; the same seed
always builds the same scenario.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from fluido.redis import Redis, Sharing

from .scripted import Fault, Server

RETRIES = 3
FOR_EVER = 10**9
PATIENCE_S = 20.0  # a scenario takes some 10 ms; who still waits after this was forgotten
STALL_TIMEOUT_S = 0.03
SLOW_TIMEOUT_S = 0.06  # a slow reply takes 0.08 s
EXPECTED = (RedisConnectionError, RedisTimeoutError, InvalidResponse)


@dataclass(slots=True)
class Scenario:
    """What happens, in order. Steps are (name, size)."""

    seed: int
    protocol: int
    links: int
    window: int
    safe: bool
    fragment_bytes: int
    faults: dict[int, Fault]
    steps: list[tuple[str, int]]
    early: int
    slow: bool
    holds_s: list[tuple[float, float]]  # after so long this process stands still for so long

    @classmethod
    def draw(cls, seed: int, focus: str) -> "Scenario":
        """The scenario of a seed: "plain", with replies that are "slow", the same in a process that is "held"
        now and then, or with other "loops" beside.

        Half of the plain ones never break a connection, so that order can be checked.
        """
        chance = random.Random(seed)
        calm = chance.random() < 0.5
        slow = focus in {"slow", "held"}
        calm = calm or slow
        kinds = [Fault.PUSH, Fault.ERROR] if calm else [fault for fault in Fault if fault is not Fault.SLOW]
        kinds = [Fault.PUSH, Fault.SLOW, Fault.SLOW] if slow else kinds
        steps = [("burst", chance.randint(1, 12))]  # a warm-up opens the links
        names = [
            "burst",
            "burst",
            "burst",
            "run",
            "ticks",
            "hold",
            "release",
            "cancel early",
            "cancel late",
            "cancel run",
        ]
        names += ["other loop"] * 6 if focus == "loops" else []
        names = [name for name in names if not slow or name not in {"hold", "release"}]
        names += [] if calm else ["kill", "deafen", "retire", "refuse"]
        steps += [(chance.choice(names), chance.randint(1, 20)) for _ in range(chance.randint(3, 10))]
        return cls(
            seed=seed,
            protocol=chance.choice([2, 3]),
            links=chance.choice([1, 1, 2]),
            window=chance.choice([1, 4, 1000]),
            safe=chance.random() < 0.5,
            fragment_bytes=chance.choice([0, 0, 1, 3, 17]),
            faults={chance.randint(5, 80): chance.choice(kinds) for _ in range(chance.choice([0, 1, 2, 6]))},
            steps=steps,
            early=chance.choice([3, 32]),
            slow=slow,
            holds_s=[(chance.uniform(0.0, 0.03), chance.uniform(0.005, 0.15)) for _ in range(6)]
            if focus == "held"
            else [],
        )

    @property
    def calm(self) -> bool:
        """Whether no connection breaks."""
        return {Fault.PUSH, Fault.ERROR, Fault.SLOW}.issuperset(self.faults.values()) and not {
            "kill", "deafen", "retire", "refuse"
        }.intersection(name for name, _ in self.steps)  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What a number of scenarios saw."""

    replies: int = 0
    cancelled: int = 0
    failed: int = 0
    scenarios: int = 0


@dataclass(slots=True)
class Play:
    """One scenario while it runs."""

    scenario: Scenario
    server: Server
    client: Redis
    tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    never_sent: set[str] = field(default_factory=set)
    runs: list[list[str]] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    elsewhere: list[tuple[list[str], asyncio.Future[list[Any]]]] = field(default_factory=list)
    number: int = 0

    def key(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def begin(self, count: int) -> list[str]:
        """Start so many calls, reads and writes by turns."""
        keys = []
        for _ in range(count):
            key = self.key("r" if self.number % 3 else "w")
            call = self.client.get(key) if key[0] == "r" else self.client.append(key, "x")
            self.tasks[key] = asyncio.ensure_future(call)
            keys.append(key)
        self.submitted += keys
        return keys

    def begin_run(self, count: int) -> None:
        keys = [self.key("r") for _ in range(count)]
        pipe = self.client.pipeline(transaction=count % 2 == 0)
        for key in keys:
            pipe.get(key)
        self.tasks["+".join(keys)] = asyncio.ensure_future(pipe.execute(raise_on_error=False))
        self.runs.append(keys)

    def begin_elsewhere(self, count: int) -> None:
        """The same client in a loop of another thread."""
        keys = [self.key("r" if self.number % 2 else "w") for _ in range(count)]

        async def work() -> list[Any]:
            calls = [self.client.get(key) if key[0] == "r" else self.client.append(key, "x") for key in keys]
            return await asyncio.gather(*calls, return_exceptions=True)

        done = asyncio.get_running_loop().run_in_executor(None, asyncio.run, work())
        self.elsewhere.append((keys, done))

    async def step(self, name: str, size: int, chance: random.Random) -> None:
        server = self.server
        steps: dict[str, Callable[[], object]] = {
            "run": lambda: self.begin_run(size),
            "other loop": lambda: self.begin_elsewhere(size),
            "cancel late": lambda: self.cancel_late(size, chance),
            "hold": server.hold,
            "release": server.release,
            "kill": server.kill,
            "deafen": server.deafen,
            # A server that never comes back is an error to those who wait for it.
            "refuse": lambda: server.refuse(size if size % 4 else FOR_EVER),
        }
        if name in steps:
            steps[name]()
        elif name == "burst":
            self.begin(size)
            await ticks(chance.randint(0, 4))
        elif name == "ticks":
            await ticks(size)
        elif name == "cancel early":
            keys = self.begin(size)
            await ticks(1)  # they have been queued in this tick; its last write comes after us
            unsent = self.unsent()
            for key in chance.sample(keys, (size + 1) // 2):
                self.tasks[key].cancel()
                if f"\r\n{key}\r\n".encode() in unsent:
                    self.never_sent.add(key)
        elif name == "cancel run":
            self.begin_run(size)
            await ticks(1)
            list(self.tasks.values())[-1].cancel()
        elif hasattr(self.client.connection_pool, "update_active_connections_for_reconnect"):
            await self.client.connection_pool.update_active_connections_for_reconnect()

    def unsent(self) -> bytes:
        """What the links hold back for the end of this tick."""
        mux = self.client._mux  # this loop's: a call has just begun in it
        return b"".join(chunk for link in (mux._links if mux else []) for chunk in link._chunks)

    def cancel_late(self, count: int, chance: random.Random) -> None:
        open_tasks = [task for task in self.tasks.values() if not task.done()]
        for task in chance.sample(open_tasks, min(len(open_tasks), count)):
            task.cancel()

    async def finish(self) -> list[str]:
        """Let everything end and tell what was wrong."""
        self.server.release()
        releasing = asyncio.ensure_future(self._keep_releasing())
        others = [done for _, done in self.elsewhere]
        _, waiting = await asyncio.wait([*self.tasks.values(), *others], timeout=PATIENCE_S)
        releasing.cancel()
        wrong = [f"{len(waiting)} callers wait for ever"] if waiting else []
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)
            return wrong
        for keys, done in self.elsewhere:
            for key, answer in zip(keys, done.result(), strict=True):
                wrong += self.judge_answer(key, answer)
        for key, task in self.tasks.items():
            wrong += self.judge_call(key, task)
        return wrong + self.judge_order() + self.judge_counts() + self.judge_rest()

    async def _keep_releasing(self) -> None:
        while True:  # a stall hits late commands too, and only a timeout may end it: release what was held
            await ticks(1)
            if self.server.held:
                self.server.release()

    def judge_call(self, key: str, task: asyncio.Task[Any]) -> list[str]:
        if task.cancelled():
            return []
        return self.judge_answer(key, task.exception() or task.result())

    def judge_answer(self, key: str, answer: Any) -> list[str]:
        error = answer if isinstance(answer, BaseException) else None
        if error is not None:
            about = str(error).rpartition("about ")
            if isinstance(error, ResponseError) and about[2] == key:
                return []
            if about[1] and about[2] not in key.split("+"):
                return [f"{key} got an error {error!r} {error} about another"]
            return [] if isinstance(error, EXPECTED) else [f"{key} got {error!r} {error}"]
        value = answer.rstrip(b".") if isinstance(answer, bytes) else answer
        if isinstance(value, list):
            wanted = [name.encode() for name in key.split("+")]
            bare = [got.rstrip(b".") if isinstance(got, bytes) else got for got in value]
            odd = [
                got for got, want in zip(bare, wanted, strict=True)
                if got != want and not str(got).endswith(f"about {want.decode()}")
            ]  # fmt: skip
            return [f"the run {key} got {odd}"] if odd else []
        wanted_value = key.encode() if key[0] == "r" else int(key[1:])
        return [] if value == wanted_value else [f"{key} got {value!r}"]

    def judge_order(self) -> list[str]:
        """Per connection, runs are contiguous; without faults, what is sent keeps its order."""
        wrong = []
        sessions: dict[int, list[str]] = {}
        for session, key in self.server.executed:
            sessions.setdefault(session, []).append(key)
        erring = any(fault is not Fault.PUSH for fault in self.scenario.faults.values())
        for keys in sessions.values():
            text = ",".join(keys) + ","
            wrong += [
                f"the run {run} was torn apart"
                for run in self.runs
                if run[0] in keys and not erring and self.scenario.calm and ",".join(run) + "," not in text
            ]
            # On a machine that is too busy a reply may seem held up: what only reads then goes another way.
            apart = self.client.counts().events.get("reads apart")
            if self.scenario.calm and not self.scenario.faults and not apart:
                places = {key: place for place, key in enumerate(self.submitted)}
                order = [places[key] for key in keys if key in places]
                wrong += ["the order of submission was lost"] if order != sorted(order) else []
        return wrong

    def judge_counts(self) -> list[str]:
        wrong = [
            f"{key} was cancelled before the write and sent" for key in self.never_sent & self.server.arrived
        ]
        # On a busy machine a reply may seem held up: what only reads then goes another way, once more.
        apart = self.client.counts().events.keys() & {"reads apart", "closed: a large reply"}
        for key, times in Counter(key for _, key in self.server.executed).items():
            most = 1 if self.scenario.safe and key[0] == "w" else 1 + RETRIES
            most += 1 if apart and key[0] == "r" else 0
            if self.scenario.slow and self.scenario.calm and key[0] == "w" and key not in self.server.slow:
                most = 1  # others were late, and it did or will run
            if times > most:
                wrong.append(f"{key} ran {times} times")
        longest = max((len(run) for run in self.runs), default=0)
        if not self.elsewhere and self.server.most_inflight > max(self.scenario.window, longest):
            wrong.append(f"{self.server.most_inflight} in flight, the window is {self.scenario.window}")
        return wrong

    def judge_rest(self) -> list[str]:
        muxes = self.client._muxes
        mux = muxes.here() if muxes is not None else None
        stats = mux.stats() if mux is not None else self.client.stats()
        wrong = [f"{stats.waiting} waiters are left"] if stats.waiting else []
        links = mux._links if mux is not None else []
        if len([link for link in links if link.alive and link.retired is None]) > self.scenario.links:
            wrong.append("more links than were asked for")
        for link in links:
            left = link.granted + len(link._futures)
            if left or link.inflight != len(link.pending):
                return [*wrong, f"{left} left over, {link.inflight} in flight of {len(link.pending)}"]
        return wrong


async def ticks(count: int) -> None:
    """Let the loop turn so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def hold(holds_s: list[tuple[float, float]]) -> None:
    """Let this process stand still, now and then."""
    for pause_s, hold_s in holds_s:
        await asyncio.sleep(pause_s)
        time.sleep(hold_s)  # noqa: ASYNC251  # as a busy machine does it


async def came_back(client: Redis) -> bool:
    """Whether the pool lends nothing any more. A connection that is closed comes back a moment later."""
    for _ in range(200):
        if not client.connection_pool._in_use_connections:
            return True
        await asyncio.sleep(0.02)
    return False


async def play(seed: int, tally: Tally | None = None, focus: str = "plain") -> list[str]:
    """Play the scenario of a seed; what did not hold, in sentences."""
    scenario = Scenario.draw(seed, focus)
    chance = random.Random(seed + 1)
    server = Server(
        faults=scenario.faults, fragment_bytes=scenario.fragment_bytes, protocol=scenario.protocol
    )
    port = await server.start()
    client = Redis(
        port=port,
        host="127.0.0.1",
        protocol=scenario.protocol,
        retry=Retry(NoBackoff(), RETRIES),
        socket_timeout=SLOW_TIMEOUT_S if scenario.slow else 1.0 if scenario.calm else STALL_TIMEOUT_S,
        sharing=Sharing(
            links=scenario.links,
            window=scenario.window,
            early=scenario.early,
            delivery="safe" if scenario.safe else "retry",
            bulk_bytes=1024,
        ),
    )
    stage = Play(scenario, server, client)
    holding = asyncio.ensure_future(hold(scenario.holds_s))
    for name, size in scenario.steps:
        await stage.step(name, size, chance)
    wrong = await stage.finish()
    if tally is not None:
        done = stage.tasks.values()
        tally.scenarios += 1
        tally.cancelled += sum(task.cancelled() for task in done)
        tally.failed += sum(not task.cancelled() and task.exception() is not None for task in done)
        tally.replies += sum(not task.cancelled() and task.exception() is None for task in done)
    holding.cancel()
    await client.aclose()
    await server.stop()
    if not await came_back(client):
        wrong.append("a connection did not come back to its pool")
    return [f"seed {seed}: {sentence}" for sentence in wrong]
