"""One run from start to end: the stage, the components, the chats; what was measured is never lost."""

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict

from bench.arrivals import spread_seed
from bench.components import POSTGRESQL, REDIS, names, postgresql_arms, redis_arms
from bench.environment import Machine, ThisMachine, describe
from bench.experiments import ChatArm, Offer, capacity_per_s, histories, standard_workloads
from bench.journal import Journal
from bench.load import Send
from bench.profiles import ChatPlan, Profile
from bench.progress import Steps
from bench.samples import Results, as_mapping
from bench.stage import Stage
from bench.traces import load_trace
from bench.trial import Arm, Plan, Quiet, Trial, at_level
from bench.workloads import Workload

START_S = 6.0
SETTLE_S = 0.2
PATIENT_FROM_S = 600.0
DRIFT = 1.3
"""A capacity that changed by more than this factor is told to the reader."""


def planned_s(profile: Profile) -> float:
    """Seconds the run is expected to take, for the progress bar."""
    parts = profile.components
    chats = sum(_chat_s(chat) for chat in profile.chats)
    components = 2 * 2 * (parts.rounds + parts.warm_up) * (parts.block_s + SETTLE_S)
    return START_S * len(profile.arms) + components + chats


def _round_s(chat: ChatPlan) -> float:
    return len(chat.arms) * (chat.block_s + 1.0 + SETTLE_S)


def _chat_s(chat: ChatPlan) -> float:
    return 1.5 * chat.calibrate_s + len(chat.levels) * (chat.rounds + chat.warm_up) * _round_s(chat)


def begin(profile: Profile) -> Results:
    """An empty result that knows the machine and the plan."""
    return Results(
        as_mapping(describe()), {"profile": asdict(profile), "capacity_per_s": {}, "capacity_after_per_s": {}}
    )


class Run:
    """Fills `results`. Cancelling it keeps every finished round."""

    def __init__(
        self,
        profile: Profile,
        results: Results,
        journal: Journal,
        steps: Steps,
        *,
        machine: Machine | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._profile = profile
        self._results = results
        self._journal = journal
        self._steps = steps
        self._machine = machine or ThisMachine()
        self._clock = clock
        self._until = 0.0
        # A short run looks once and marks what was busy; a long one has time to wait and to repeat.
        patient = profile.budget_s >= PATIENT_FROM_S
        self._quiet = Quiet(look_s=SETTLE_S, patience_s=5.0 if patient else 0.0, repeats=3 if patient else 0)

    async def __call__(self) -> None:
        """Everything the profile asks for, until it is done or its time is over."""
        self._until = self._clock() + self._profile.budget_s
        async with Stage(self._profile.arms, engine=self._profile.engine, say=self._steps.say) as stage:
            self._steps.advance(START_S * len(self._profile.arms))
            self._results.environment = {**self._results.environment, "ground": stage.ground}
            await self._components(stage)
            for chat in self._profile.chats:
                await self._chat(stage, chat)
        self._mark_busy()
        self._results.complete = not self._results.notes or all(
            "time was up" not in note for note in self._results.notes
        )

    async def _components(self, stage: Stage) -> None:
        parts = self._profile.components
        for arm in stage.contestants:
            await stage.settle(arm, names())
        databases = {name: found.database_url for name, found in stage.contestants.items()}
        caches = {name: found.redis_url for name, found in stage.contestants.items()}
        made = (
            (POSTGRESQL, postgresql_arms(databases, parts.block_s)),
            (REDIS, redis_arms(caches, parts.block_s)),
        )
        for experiment, opened in made:
            async with opened as arms:
                plan = self._plan(experiment, parts.rounds, parts.warm_up)
                await self._rounds(arms, plan, 2 * (parts.block_s + SETTLE_S))

    async def _chat(self, stage: Stage, chat: ChatPlan) -> None:
        trace = load_trace()
        workload = standard_workloads(trace)[chat.workload]
        for arm in chat.arms:
            known = histories(workload)
            if known and not stage.contestants[arm].sender.knows(known):
                await stage.settle(arm, known)
        control = stage.contestants["v1"]
        capacities: dict[str, float] = self._results.configuration["capacity_per_s"]
        self._steps.say(f"{chat.experiment}: how much V1 can do")
        if chat.experiment not in capacities:
            capacities[chat.experiment] = await capacity_per_s(
                control.sender, workload, duration_s=chat.calibrate_s, seed=self._profile.seed
            )
        self._steps.advance(chat.calibrate_s)
        capacity = capacities[chat.experiment]
        if capacity <= 0:
            self._results.notes.append(f"{chat.experiment}: V1 answered nothing, so nothing was compared")
            return
        for level in chat.levels:
            offer = Offer(level * capacity, chat.block_s, self._profile.pattern, self._profile.deadline_s)
            arms = [
                ChatArm(name, stage.contestants[name].sender, workload, offer, trace) for name in chat.arms
            ]
            plan = at_level(self._plan(chat.experiment, chat.rounds, chat.warm_up), level)
            await self._rounds(arms, plan, _round_s(chat))
        await self._look_again(chat, capacity, control.sender, workload)

    async def _look_again(self, chat: ChatPlan, before: float, send: Send, workload: Workload) -> None:
        """Loads are shares of a capacity measured at the start: say so when it did not stay."""
        if self._clock() >= self._until:
            return
        self._steps.say(f"{chat.experiment}: how much V1 can do now")
        after = await capacity_per_s(
            send, workload, duration_s=chat.calibrate_s / 2, seed=spread_seed(self._profile.seed, "after")
        )
        self._steps.advance(chat.calibrate_s / 2)
        self._results.configuration["capacity_after_per_s"][chat.experiment] = after
        if after and not 1 / DRIFT <= after / before <= DRIFT:
            self._results.notes.append(
                f"{chat.experiment}: V1's capacity went from {before:.2f} to {after:.2f} requests a second "
                "during the run, so the loads are other shares of it than they are called"
            )

    def _plan(self, experiment: str, rounds: int, warm_up: int) -> Plan:
        return Plan(experiment, rounds, warm_up=warm_up, seed=self._profile.seed, quiet=self._quiet)

    async def _rounds(self, arms: Sequence[Arm], plan: Plan, round_s: float) -> None:
        """Rounds that a resumed run has already are skipped; none begins after the budget."""
        done = self._done(plan)
        self._steps.advance(done * round_s)
        if done >= plan.rounds:
            return
        trial = Trial(arms, plan, self._machine, clock=self._clock)
        contestants = ", ".join(arm.name for arm in arms)
        async with aclosing(trial.rounds(done)) as rounds:
            if self._is_over(plan, done):
                return
            self._steps.say(f"{plan.experiment.replace('_', ' ')} at {plan.level:.0%}: {contestants}")
            async for blocks in rounds:
                self._results.blocks.extend(blocks)
                self._journal.add(blocks)
                self._steps.advance(round_s)
                done = max(done, blocks[0].round + 1)
                if done < plan.rounds and self._is_over(plan, done):
                    return

    def _is_over(self, plan: Plan, done: int) -> bool:
        if self._clock() < self._until:
            return False
        self._results.notes.append(
            f"{plan.experiment} at {plan.level:.0%}: time was up after {done} of {plan.rounds} rounds"
        )
        return True

    def _done(self, plan: Plan) -> int:
        found = {
            block.round
            for block in self._results.blocks
            if block.experiment == plan.experiment and block.level == plan.level and not block.warm_up
        }
        return max(found) + 1 if found else 0

    def _mark_busy(self) -> None:
        measured = [block for block in self._results.blocks if not block.warm_up]
        busy = sum(block.busy for block in measured)
        if measured and busy > len(measured) / 10:
            share = busy / len(measured)
            self._results.notes.append(
                f"the machine was busy with something else before {share:.0%} of the blocks: "
                "trust the ratios less, run again when it is quiet"
            )
