"""Several models of one engine in turns: few loads, nobody forgotten, no deadline missed for a turn."""

import asyncio
import math
from itertools import pairwise

import pytest

from fluido.errors import EngineUnavailable, FluidoError
from fluido.gateway._turns import Turns
from fluido.testing.virtual_loop import VirtualLoop
from tests.gateway.conftest import opened, until
from tests.gateway.scripted import ScriptedEngine, tell

LOAD_S, SERVICE_S = 4.0, 0.5


class Machine:
    """An engine that holds `room` models, and one call at a time."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.resident: list[str] = []
        self.loads: list[str] = []
        self.broken: set[str] = set()

    async def names(self) -> frozenset[str] | None:
        return frozenset(self.resident)


class Model:
    """A model with its callers, as `Turns` sees it."""

    def __init__(self, machine: Machine, name: str, clock) -> None:
        self.model = name
        self.machine = machine
        self.clock = clock
        self.line: list[tuple[float, float, asyncio.Future]] = []
        self.inflight = 0
        self.held = False
        self.waits: list[float] = []
        self.expected_load_s = LOAD_S
        self.rest = asyncio.Event()
        self.rest.set()

    @property
    def waiting(self) -> int:
        return len(self.line)

    @property
    def waiting_since_s(self) -> float | None:
        return self.line[0][0] if self.line else None

    @property
    def earliest_deadline_s(self) -> float:
        return min((deadline for _, deadline, _ in self.line), default=math.inf)

    def hold(self) -> None:
        self.held = True

    def let_go(self) -> None:
        self.held = False
        self.grant()

    def grant(self) -> None:
        if not self.held and not self.inflight and self.line:
            came_s, _, seat = self.line.pop(0)
            self.inflight += 1
            self.rest.clear()
            self.waits.append(self.clock() - came_s)
            if not seat.done():
                seat.set_result(None)

    def shed(self, error: FluidoError) -> None:
        line, self.line = self.line, []
        for _, _, seat in line:
            seat.set_exception(error)

    async def idle(self) -> None:
        await self.rest.wait()

    async def load(self) -> None:
        await asyncio.sleep(LOAD_S)
        if self.model in self.machine.broken:
            raise EngineUnavailable("it needs more memory than there is")
        self.machine.loads.append(self.model)
        self.machine.resident.append(self.model)
        del self.machine.resident[: -self.machine.room]

    def unloaded(self) -> None:
        pass

    async def call(self, turns: Turns, *, deadline_s: float = math.inf) -> None:
        seat = asyncio.get_running_loop().create_future()
        turns.want(self)
        self.line.append((self.clock(), deadline_s, seat))
        self.grant()
        await seat
        assert self.model in self.machine.resident, "served by a model that is not loaded"
        await asyncio.sleep(SERVICE_S)
        self.inflight -= 1
        self.rest.set()
        turns.news()
        self.grant()


def played(names: str, calls, *, room: int = 1, patience: float = 2.0, broken: str = ""):
    """Play calls: (second, model, deadline); the machine, the models, the exceptions, when all was over."""
    loop = VirtualLoop()
    machine = Machine(room)
    machine.broken = set(broken)

    async def main():
        turns = Turns(machine.names, patience=patience, clock=loop.time)
        models = {name: Model(machine, name, loop.time) for name in names}

        async def one(at_s: float, name: str, deadline_s: float) -> None:
            await asyncio.sleep(at_s)
            await models[name].call(turns, deadline_s=deadline_s)

        results = await asyncio.gather(*(one(*call) for call in calls), return_exceptions=True)
        over_s = loop.time()
        await turns.close()
        return models, [each for each in results if each is not None], over_s

    return machine, *loop.run(main())


def test_a_mixed_stream_is_collated() -> None:
    calls = [(0.2 * i, "ab"[i % 2], math.inf) for i in range(200)]
    machine, models, errors, over_s = played("ab", calls)
    assert not errors
    assert len(machine.loads) <= 25, "direct: 200"
    direct_s = 200 * (LOAD_S + SERVICE_S)
    assert over_s < direct_s / 4
    waits = [wait for model in models.values() for wait in model.waits]
    assert len(waits) == 200
    assert max(waits) < 2 * direct_s


def test_the_loaded_one_goes_on_while_the_other_has_waited_less_than_a_load() -> None:
    calls = [(0.4 * i, "a", math.inf) for i in range(30)] + [(5.0, "b", math.inf)]
    machine, models, errors, _ = played("ab", calls)
    assert not errors
    assert machine.loads[:2] == ["a", "b"]
    assert models["b"].waits[0] >= 2.0 * LOAD_S
    assert models["b"].waits[0] <= 2.0 * LOAD_S + LOAD_S + 4 * SERVICE_S


def test_an_idle_engine_changes_at_once() -> None:
    machine, models, _, _ = played("ab", [(0.0, "a", math.inf), (20.0, "b", math.inf)])
    assert machine.loads == ["a", "b"]
    assert models["b"].waits[0] == pytest.approx(LOAD_S, abs=0.1)


def test_the_next_call_of_a_busy_model_is_waited_for() -> None:
    """The engine rests between two calls of `a`: given away each time it would load twice for each of `b`."""
    busy = [(1.5 * i, "a", math.inf) for i in range(100)]
    calls = sorted([*busy, *((10.3 + 10.0 * i, "b", math.inf) for i in range(12))])
    machine, models, errors, _ = played("ab", calls)
    assert not errors
    assert len(machine.loads) <= 15, "given away whenever it rests: 19"
    assert max(models["b"].waits) <= 3 * 2.0 * LOAD_S + LOAD_S


def test_a_model_that_is_called_seldom_is_not_waited_for() -> None:
    calls = [*((10.0 * i, "a", math.inf) for i in range(6)), (51.0, "b", math.inf)]
    _, models, _, _ = played("ab", calls)
    assert models["b"].waits[0] == pytest.approx(LOAD_S, abs=0.1)


def test_calls_that_came_first_are_served_before_the_engine_changes() -> None:
    """Thirty calls at once, then one for the other model: it is served after them, by one load."""
    calls = [*((0.0, "a", math.inf) for _ in range(30)), (1.0, "b", math.inf), (1.1, "a", math.inf)]
    machine, models, _, _ = played("ab", calls)
    assert machine.loads == ["a", "b", "a"]
    assert models["b"].waits[0] == pytest.approx(30 * SERVICE_S - 1.0 + 2 * LOAD_S, abs=1.0)


def test_a_deadline_comes_before_patience() -> None:
    calls = [(0.4 * i, "a", math.inf) for i in range(60)] + [(6.0, "b", 6.0 + LOAD_S + 1.0)]
    _, models, errors, _ = played("ab", calls)
    assert not errors
    assert models["b"].waits[0] <= LOAD_S + 1.0 + SERVICE_S


def test_models_that_fit_together_do_not_wait_for_each_other() -> None:
    calls = [(0.2 * i, "ab"[i % 2], math.inf) for i in range(100)]
    machine, _, errors, _ = played("ab", calls, room=2)
    assert not errors
    assert machine.loads == ["a", "b"]


def test_three_models_where_two_fit() -> None:
    calls = [(0.2 * i, "abc"[i % 3], math.inf) for i in range(150)]
    machine, models, errors, _ = played("abc", calls, room=2)
    assert not errors
    assert sum(len(model.waits) for model in models.values()) == 150
    assert len(machine.loads) <= 40


def test_one_that_cannot_be_loaded_fails_alone() -> None:
    calls = [(0.4 * i, "a", math.inf) for i in range(30)] + [(1.0, "b", math.inf), (9.0, "b", math.inf)]
    _, models, errors, _ = played("ab", calls, broken="b")
    assert [type(error) for error in errors] == [EngineUnavailable] * 2
    assert len(models["a"].waits) == 30


@pytest.mark.anyio
async def test_two_models_of_an_ollama_that_holds_one() -> None:
    engine = ScriptedEngine("ollama", models=("a:latest", "b:latest"))
    engine.room = 1
    engine.load_s = 0.05
    engine.script = tell("x", gap_s=0.01)
    async with opened(engine) as door:

        async def call(i: int) -> int:
            async with door.chat(f"c{i}", model="ab"[i % 2]) as reply:
                await reply.read()
                return reply.status

        assert set(await asyncio.gather(*(call(i) for i in range(60)))) == {200}
        served = [each.json["model"] for each in engine.seen]
        changes = sum(one != other for one, other in pairwise(served))
        assert len(served) == 60
        assert changes <= 15, "direct: 59"
        assert len(engine.loads) == changes + (engine.loads[:1] == ["a:latest"])
        await until(lambda: not any(flow.inflight for flow in door.gateway.admission.flows))
