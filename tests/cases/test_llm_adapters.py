"""Whatever an engine adapter raises ends in a log line and in an engine that is asked again."""

import asyncio
import logging

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import Call, Delta, Dispatcher, Pulse
from fluido.llm.engines._guard import AGAIN_S, Faults
from fluido.testing.virtual_loop import VirtualLoop
from tests.llm.asking import answer, ask
from tests.llm.conftest import ScriptedEngine, ended


class Broken(ScriptedEngine):
    """An adapter with a fault of its own in each question that `faulty` names."""

    def __init__(self, *faulty: str, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.faulty = set(faulty)

    def check(self, doing: str) -> None:
        if doing in self.faulty:
            raise KeyError(f"no {doing}")

    async def facts(self, model: str = ""):
        self.check("facts")
        return await super().facts(model)

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        self.check("load")
        await super().load(model, window_tokens)

    async def has(self, model: str) -> bool | None:
        self.check("has")
        return await super().has(model)

    async def pulse(self, model: str = "") -> Pulse:
        self.check("pulse")
        return await super().pulse(model)

    async def close(self) -> None:
        self.check("close")
        await super().close()

    async def stream(self, call: Call, *, slot: int | None = None):
        self.check("stream")
        async for item in super().stream(call, slot=slot):
            yield item


def told(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.ERROR]


def now_s() -> float:
    return asyncio.get_running_loop().time()


def scene_of(engine: Broken, wanted: type[Exception] | None) -> None:
    async def scene() -> None:
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            for number in range(5):
                try:
                    await answer(dispatcher, ask(f"{number}"))
                except EngineUnavailable:
                    assert wanted is EngineUnavailable
                else:
                    assert wanted is None
            engine.faulty -= {"facts", "load", "stream"}
            await asyncio.sleep(30)
            assert (await answer(dispatcher))[0] == "ab", "it was asked again"

    VirtualLoop().run(scene())


@pytest.mark.parametrize("doing", ["facts", "load", "stream"])
def test_a_fault_that_costs_the_answer_is_told_and_the_engine_asked_again(doing: str, caplog) -> None:
    engine = Broken(doing, slots=None, loads=doing == "load", resident=doing != "load")
    scene_of(engine, EngineUnavailable)
    assert any(f"failed at {doing}: KeyError" in line for line in told(caplog)), told(caplog)
    assert len(told(caplog)) <= 3, "a fault in every question does not fill the log"


@pytest.mark.parametrize("doing", ["pulse", "close"])
def test_a_fault_that_costs_no_answer_is_told_all_the_same(doing: str, caplog) -> None:
    """A look at the slots, and the end: what cannot be asked is not known, and nothing else."""
    scene_of(Broken(doing, slots=2), None)
    assert [f"failed at {doing}: KeyError" in line for line in told(caplog)] == [True]


def test_a_fault_in_the_question_for_a_model_is_told(caplog) -> None:
    async def scene() -> None:
        engine = Broken("has")
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            await dispatcher.stations[0].ask_for("m")

    VirtualLoop().run(scene())
    assert any("failed at has" in line for line in told(caplog))


def test_silence_beside_a_fault_is_told(caplog) -> None:
    """The silence watch asked, the adapter raised, and nothing was ever told."""

    async def scene() -> None:
        engine = Broken(slots=2)

        async def silent(_: Call):
            engine.faulty.add("pulse")
            await asyncio.sleep(1_000.0)
            yield Delta("a")
            yield ended()

        engine.script = silent
        async with Dispatcher([engine], clock=now_s) as dispatcher:
            with pytest.raises(EngineUnavailable):
                await answer(dispatcher)

    VirtualLoop().run(scene())
    assert [line for line in told(caplog) if "failed at pulse" in line]


def test_a_fault_is_told_again_after_a_while_with_how_often_it_came(caplog) -> None:
    time_s = 0.0
    faults = Faults("http://e", clock=lambda: time_s)
    for second in range(int(AGAIN_S) + 1):
        time_s = float(second)
        faults.note(ValueError("odd"), "pulse")
        faults.note(EngineUnavailable("away"), "pulse")
    assert len(told(caplog)) == 2
    assert "59 more times" in told(caplog)[1]
