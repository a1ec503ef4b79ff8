"""Interleaving, warm-up and busy machines, with a scripted machine in virtual time."""

import asyncio
from typing import Any

from bench.environment import MachineReading
from bench.samples import Block, Outcome, Sample
from bench.trial import Plan, Quiet, Taken, Trial, at_level

CALM, NOISY = MachineReading(0.02, 0.0, 0.1), MachineReading(0.9, 0.0, 3.0)


class ScriptedMachine:
    """Says what it is told, then that all is calm."""

    def __init__(self, *readings: MachineReading) -> None:
        self.readings = list(readings)

    def look(self) -> MachineReading:
        return self.readings.pop(0) if self.readings else CALM


class RecordingArm:
    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self.name, self._log = name, log

    async def run(self, seed: int) -> Taken:
        self._log.append((self.name, seed))
        await asyncio.sleep(2.0)
        return Taken([Sample(0.0, 0.0, 1.0, Outcome.ANSWERED)], {"per_s": 0.5})


async def collect(trial: Trial) -> list[Block]:
    return [block async for blocks in trial.rounds() for block in blocks]


def test_every_round_gives_all_arms_the_same_seed_in_a_drawn_order(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        arms = [RecordingArm(name, log) for name in ("v1", "v2")]
        plan = Plan("llm", rounds=20, warm_up=1)
        blocks = await collect(Trial(arms, plan, ScriptedMachine(), clock=loop.time))
        assert len(blocks) == 42
        rounds = [log[at : at + 2] for at in range(0, len(log), 2)]
        assert all(first[1] == second[1] for first, second in rounds)
        assert len({first[1] for first, _ in rounds}) == 21
        leaders = [first[0] for first, _ in rounds]
        assert 5 <= leaders.count("v1") <= 16
        assert [b.position for b in blocks if b.arm == "v1"].count(0) == leaders.count("v1")
        assert sum(block.warm_up for block in blocks) == 2
        assert {block.duration_s for block in blocks} == {2.0}
        assert {block.figures["per_s"] for block in blocks} == {0.5}

    virtual(main)


def test_the_order_is_the_same_for_the_same_seed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        logs: list[list[tuple[str, int]]] = [[], []]
        for log in logs:
            arms = [RecordingArm(name, log) for name in ("v1", "v2", "fixed")]
            await collect(Trial(arms, Plan("llm", rounds=5), ScriptedMachine(), clock=loop.time))
        assert logs[0] == logs[1]

    virtual(main)


def test_a_round_on_a_busy_machine_is_run_again_with_new_requests(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        quiet = Quiet(look_s=0.5, patience_s=0.0, repeats=1)
        arms = [RecordingArm(name, log) for name in ("v1", "v2")]
        plan = Plan("llm", rounds=1, warm_up=0, quiet=quiet)
        blocks = await collect(Trial(arms, plan, ScriptedMachine(CALM, NOISY), clock=loop.time))
        assert len(log) == 4
        assert log[0][1] != log[2][1]
        assert [block.busy for block in blocks] == [False, False]

    virtual(main)


def test_a_machine_that_stays_busy_is_written_down_not_waited_for(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        quiet = Quiet(look_s=0.5, patience_s=2.0, repeats=1)
        plan = Plan("llm", rounds=1, warm_up=0, quiet=quiet)
        machine = ScriptedMachine(*[NOISY] * 200)
        blocks = await collect(Trial([RecordingArm("v1", log)], plan, machine, clock=loop.time))
        assert len(log) == 2
        assert blocks[0].busy
        assert blocks[0].busy_before == 0.9
        assert loop.time() < 12

    virtual(main)


def test_level_is_written_into_the_blocks(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        plan = at_level(Plan("llm", rounds=1, warm_up=0), 0.8)
        blocks = await collect(Trial([RecordingArm("v1", [])], plan, ScriptedMachine(), clock=loop.time))
        assert blocks[0].level == 0.8

    virtual(main)
