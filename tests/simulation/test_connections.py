"""The connections of a pool in virtual time: opened slowly, never above the gate, gone when idle."""

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from sqlalchemy.util import await_only, greenlet_spawn

from fluido.laws._ladder import Ladder
from fluido.sqlalchemy import AdaptivePool, Limits
from fluido.testing.curve import Curve
from fluido.testing.server import SimulatedServer
from fluido.testing.virtual_loop import VirtualLoop

CONNECT_S = 0.005
BUSY_S, QUIET_S = 20.0, 150.0


class Connection:
    def __init__(self, server: "Server") -> None:
        self.server = server

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        self.server.open -= 1
        self.server.closed_s.append(asyncio.get_running_loop().time())


@dataclass
class Server:
    """Counts connections; each takes 5 ms to open."""

    open: int = 0
    most: int = 0
    opened_s: list[float] = field(default_factory=list)
    closed_s: list[float] = field(default_factory=list)
    above_gate: int = 0
    pool: AdaptivePool | None = None

    def __call__(self) -> Connection:
        self.open += 1
        self.most = max(self.most, self.open)
        self.opened_s.append(asyncio.get_running_loop().time())
        assert self.pool is not None
        self.above_gate += self.open > max(2, -(-self.pool.gate.wanted // 1))
        await_only(asyncio.sleep(CONNECT_S))
        return Connection(self)


@dataclass
class Story:
    server: Server
    busy_limit: float
    busy_open: int


def play(callers: int) -> Story:
    """`callers` that call again at once for 20 s on 12 cores of 10 ms; then one call a second."""

    async def main() -> Story:
        loop = asyncio.get_running_loop()
        server, work = Server(), SimulatedServer(Curve.knee(12, 0.010, retrograde=0.3))
        law = Ladder(start=8, floor=2, ceiling=40)
        server.pool = pool = AdaptivePool(
            server,
            limit=Limits(min=2, max=40, start=8, open_every_s=0.04, idle_s=60.0),
            law=law,
            clock=loop.time,
        )

        async def call() -> None:
            connection = await greenlet_spawn(pool.connect)
            await work.call()
            await greenlet_spawn(connection.close)

        async def caller() -> None:
            while loop.time() < BUSY_S:
                await call()

        await asyncio.gather(*(caller() for _ in range(callers)))
        story = Story(server, pool.gate.wanted, server.open)
        while loop.time() < BUSY_S + QUIET_S:
            await call()
            await asyncio.sleep(1.0)
        await greenlet_spawn(pool.dispose)
        return story

    return VirtualLoop().run(main())


@pytest.fixture(scope="module")
def crowd() -> Story:
    return play(60)


def test_the_first_are_opened_at_once_and_the_others_not_faster_than_told(crowd: Story) -> None:
    opened_s = [at_s for at_s in crowd.server.opened_s if at_s < BUSY_S]
    assert len(opened_s) >= 12
    assert opened_s[:8] == [0.0] * 8
    gaps = [later - sooner for sooner, later in itertools.pairwise(opened_s[9:])]
    assert min(gaps) >= 0.03
    assert min(gaps) <= 0.05, "and does not wait much longer while callers do"


def test_no_connection_is_opened_above_the_gate(crowd: Story) -> None:
    assert crowd.server.above_gate == 0
    assert crowd.server.most <= 40
    assert 6 <= crowd.busy_limit <= 24, "a knee of 12"


def test_they_leave_one_a_second_after_a_quiet_minute(crowd: Story) -> None:
    assert crowd.server.open == 0, "dispose() closes the rest"
    closed_s = [at_s for at_s in crowd.server.closed_s if at_s < BUSY_S + QUIET_S]
    late_s = [at_s for at_s in closed_s if at_s > BUSY_S + 5]
    assert len(late_s) >= crowd.busy_open - 4, "all but the two that are kept, and what one call needs"
    assert BUSY_S + 30 <= late_s[0] <= BUSY_S + 65, "a half to a whole idle minute after the last peak"
    assert min(later - sooner for sooner, later in itertools.pairwise(late_s)) >= 0.9


def test_few_callers_open_few() -> None:
    story = play(3)
    assert story.server.most <= 4
    assert story.server.above_gate == 0
