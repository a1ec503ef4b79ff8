"""Interleaving, warm-up and busy machines, with a scripted machine in virtual time."""

import asyncio
from typing import Any

from bench.environment import MachineReading
from bench.samples import Block, Outcome, Sample
from bench.trial import Plan, Quiet, Rounds, Scene, Taken

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


async def collect(
    arms: list[RecordingArm], plan: Plan, machine: ScriptedMachine, loop: Any, level: float = 1.0
) -> list[Block]:
    rounds = Rounds(plan, machine, clock=loop.time)
    found: list[Block] = []
    for index in range(plan.rounds):
        found += await rounds.play(Scene(level, arms), index)
    return found


def test_every_round_gives_all_arms_the_same_seed_in_a_drawn_order(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        arms = [RecordingArm(name, log) for name in ("v1", "v2")]
        plan = Plan("llm", rounds=20)
        blocks = await collect(arms, plan, ScriptedMachine(), loop)
        assert len(blocks) == 40
        rounds = [log[at : at + 2] for at in range(0, len(log), 2)]
        assert all(first[1] == second[1] for first, second in rounds)
        assert len({first[1] for first, _ in rounds}) == 20
        leaders = [first[0] for first, _ in rounds]
        assert 5 <= leaders.count("v1") <= 16
        assert [b.position for b in blocks if b.arm == "v1"].count(0) == leaders.count("v1")
        assert {block.duration_s for block in blocks} == {2.0}
        assert {block.figures["per_s"] for block in blocks} == {0.5}

    virtual(main)


def test_the_order_is_the_same_for_the_same_seed(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        logs: list[list[tuple[str, int]]] = [[], []]
        for log in logs:
            arms = [RecordingArm(name, log) for name in ("v1", "v2", "fixed")]
            await collect(arms, Plan("llm", rounds=5), ScriptedMachine(), loop)
        assert logs[0] == logs[1]

    virtual(main)


def test_a_round_on_a_busy_machine_is_run_again_with_new_requests(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        quiet = Quiet(look_s=0.5, patience_s=0.0, repeats=1)
        arms = [RecordingArm(name, log) for name in ("v1", "v2")]
        plan = Plan("llm", rounds=1, quiet=quiet)
        blocks = await collect(arms, plan, ScriptedMachine(CALM, NOISY), loop)
        assert len(log) == 4
        assert log[0][1] != log[2][1]
        assert [block.busy for block in blocks] == [False, False]

    virtual(main)


def test_a_machine_that_stays_busy_is_written_down_not_waited_for(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        log: list[tuple[str, int]] = []
        quiet = Quiet(look_s=0.5, patience_s=2.0, repeats=1)
        plan = Plan("llm", rounds=1, quiet=quiet)
        machine = ScriptedMachine(*[NOISY] * 200)
        blocks = await collect([RecordingArm("v1", log)], plan, machine, loop)
        assert len(log) == 2
        assert blocks[0].busy
        assert blocks[0].busy_before == 0.9
        assert loop.time() < 12

    virtual(main)


def test_level_is_written_into_the_blocks(virtual: Any) -> None:
    async def main(loop: Any) -> None:
        plan = Plan("llm", rounds=1)
        blocks = await collect([RecordingArm("v1", [])], plan, ScriptedMachine(), loop, level=0.8)
        assert blocks[0].level == 0.8

    virtual(main)


def test_a_block_lasts_as_long_as_its_requests_came(virtual: Any) -> None:
    """Neither a warm-up inside it nor its last answers make a rate smaller than it was."""

    class Longer(RecordingArm):
        async def run(self, seed: int) -> Taken:
            taken = await super().run(seed)
            return Taken(taken.samples, span_s=1.5, people=200)

    async def main(loop: Any) -> None:
        (block,) = await collect([Longer("v1", [])], Plan("llm", rounds=1), ScriptedMachine(), loop)
        assert (block.duration_s, block.people) == (1.5, 200)

    virtual(main)
