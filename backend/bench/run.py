"""One run from start to end: ground, sweep, one experiment after the other; nothing measured is lost."""

import itertools
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, replace

from bench.catalogue import DAY, scene, word
from bench.environment import Machine, ThisMachine, describe
from bench.experiment import SETTLE_S, Context, Experiment
from bench.journal import Journal
from bench.profiles import START_S, Profile
from bench.progress import Steps
from bench.samples import Block, Results, Timeline, as_mapping
from bench.stage import Ground
from bench.sweep import tune
from bench.traces import load_trace
from bench.trial import Plan, Quiet, Rounds, Stand, incarnations

PATIENT_FROM_S = 600.0

Open = Callable[[Profile, Callable[[str], None]], Ground]


def begin(profile: Profile) -> Results:
    """An empty result that knows the machine and the plan."""
    plan = [{"part": name, "planned_s": round(planned_s, 1)} for name, planned_s in profile.parts()]
    return Results(
        as_mapping(describe()),
        {
            "profile": profile.document(),
            "plan": plan,
            "claims": list(profile.claims),
            "slo": {},
            "tuned": {},
        },
    )


class Run:
    """Fills `results`. Cancelling it keeps every finished round."""

    def __init__(
        self,
        profile: Profile,
        results: Results,
        journal: Journal,
        steps: Steps,
        ground: Open,
        *,
        machine: Machine | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._profile = profile
        self._results = results
        self._journal = journal
        self._steps = steps
        self._ground = ground
        self._machine = machine or ThisMachine()
        self._clock = clock
        self._until = 0.0
        self._incarnation = 1 + max((block.incarnation for block in results.blocks), default=0)
        # A short run looks once and marks what was busy; a long one has time to wait and to repeat.
        patient = profile.budget_s >= PATIENT_FROM_S
        self._quiet = Quiet(look_s=SETTLE_S, patience_s=5.0 if patient else 0.0, repeats=3 if patient else 0)

    async def __call__(self) -> None:
        """Everything the profile asks for, until it is done or its time is over."""
        self._until = self._clock() + self._profile.budget_s
        async with AsyncExitStack() as closing:
            ground = await closing.enter_async_context(self._ground(self._profile, self._steps.say))
            self._steps.advance(START_S * len(self._profile.arms))
            self._results.environment = {**self._results.environment, "ground": ground.ground}
            context = self._context(ground)
            await self._tune(context)
            for experiment in self._profile.experiments:
                await self._play(experiment, context)
        self._mark_busy()
        self._results.complete = all("time was up" not in note for note in self._results.notes)

    def _context(self, ground: Ground) -> Context:
        numbers = itertools.count(1000 * self._incarnation)
        return Context(
            ground=ground,
            results=self._results,
            trace=load_trace(),
            deadline_s=self._profile.deadline_s,
            seed=self._profile.seed,
            keep=self._keep_timeline,
            number=lambda: next(numbers),
        )

    async def _tune(self, context: Context) -> None:
        plan = self._profile.sweep
        if plan is None:
            return
        tuned = self._results.configuration["tuned"]
        if not tuned:
            self._steps.say("the best constants of V1 on this machine")
            tuned |= await tune(context, plan)
            self._journal.tell("tuned", tuned)
        self._steps.advance(plan.planned_s())

    def _keep_timeline(self, line: Timeline) -> None:
        self._results.timelines.append(line)
        self._journal.tell("timeline", asdict(line))

    async def _play(self, experiment: Experiment, context: Context) -> None:
        """What a resumed run has already is skipped; nothing begins after the budget."""
        plan = Plan(
            experiment.name,
            experiment.rounds,
            seed=self._profile.seed,
            # A day goes on from phase to phase: none of them may be waited for or played twice.
            quiet=self._quiet
            if experiment.name != DAY
            else Quiet(look_s=SETTLE_S, patience_s=0.0, repeats=0),
            levels=experiment.levels,
        )
        self._forget_half_days(plan)
        known = self._known(plan)
        scene_s = experiment.round_s() / len(plan.levels)
        self._steps.advance(len(known) * scene_s)
        if len(known) >= plan.rounds * len(plan.levels) or self._is_over(plan):
            return
        self._steps.say(word(experiment.name))
        try:
            async with experiment.opened(context) as stand:
                await self._rounds(stand, plan, scene_s)
        except RuntimeError as error:
            self._results.notes.append(f"{experiment.name}: {error}")
        self._lose_patience(plan)

    async def _rounds(self, stand: Stand, plan: Plan, scene_s: float) -> None:
        rounds = Rounds(plan, self._machine, clock=self._clock)
        first, self._incarnation = self._incarnation, self._incarnation + plan.rounds
        known = self._known(plan)
        async with aclosing(incarnations(stand, plan, rounds, known=known, first=first)) as played:
            async for blocks in played:
                self._keep(blocks)
                if not blocks[0].warm_up:
                    done = f"round {blocks[0].round + 1} of {plan.rounds}"
                    self._steps.say(f"{scene(plan.experiment, blocks[0].level)}, {done}")
                    self._steps.advance(scene_s)
                    if self._is_over(plan):
                        return

    def _keep(self, blocks: list[Block]) -> None:
        self._results.blocks.extend(blocks)
        self._journal.add(blocks)

    def _forget_half_days(self, plan: Plan) -> None:
        """A day goes on from phase to phase: what an interrupted run has of one is no day."""
        if plan.experiment != DAY:
            return
        known = self._known(plan)
        whole = {number for number, _ in known if all((number, level) in known for level in plan.levels)}
        kept = [b for b in self._results.blocks if b.experiment != DAY or b.round in whole]
        self._results.blocks[:] = kept

    def _lose_patience(self, plan: Plan) -> None:
        """Where most blocks were busy although they were waited for, waiting only costs the last parts."""
        mine = [block for block in self._results.blocks if block.experiment == plan.experiment]
        if self._quiet.patience_s and 2 * sum(block.busy for block in mine) > len(mine):
            self._quiet = replace(self._quiet, patience_s=0.0, repeats=0)
            self._results.notes.append(
                f"the machine did not become quiet during {plan.experiment}: from there on no block was "
                "waited for or repeated"
            )

    def _is_over(self, plan: Plan) -> bool:
        """Whether the budget is spent while something is left of the plan; the reader is told what."""
        known = self._known(plan)
        left = len(known) < plan.rounds * len(plan.levels)
        if not left or self._clock() < self._until:
            return False
        rounds = {number for number, _ in known}
        done = sum(all((number, level) in known for level in plan.levels) for number in rounds)
        levels = "" if len(plan.levels) > 3 else " at " + ", ".join(f"{level:g}" for level in plan.levels)
        self._results.notes.append(
            f"{plan.experiment}{levels}: time was up after {done} of {plan.rounds} rounds"
        )
        return True

    def _known(self, plan: Plan) -> set[tuple[int, float]]:
        """Round and level of what is measured already."""
        return {
            (block.round, block.level)
            for block in self._results.blocks
            if block.experiment == plan.experiment and block.level in plan.levels and not block.warm_up
        }

    def _mark_busy(self) -> None:
        measured = [block for block in self._results.blocks if not block.warm_up]
        busy = sum(block.busy for block in measured)
        if measured and busy > len(measured) / 10:
            share = busy / len(measured)
            self._results.notes.insert(
                0,
                f"the machine was busy with something else before {share:.0%} of the blocks: loads may be "
                "other shares of a capacity than they are called; run again when it is quiet",
            )
