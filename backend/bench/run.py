"""One run from start to end: the stage, the components, the chats; what was measured is never lost."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import embedded
from bench import levers, parts, sweep
from bench.arrivals import spread_seed
from bench.catalogue import (
    ARMS,
    FAIRNESS,
    LEVERS,
    POSTGRESQL,
    POSTGRESQL_INSERTS,
    POSTGRESQL_LANES,
    POSTGRESQL_WAITING,
    REDIS,
    REDIS_GET,
    REDIS_SERVICE,
    STEP,
)
from bench.change import StepArm
from bench.components import names, postgresql_arms, redis_arms
from bench.crowd import CrowdArm
from bench.environment import Machine, ThisMachine, describe
from bench.experiments import CREW, ChatArm, Offer, capacity_per_s, histories, standard_workloads
from bench.journal import Journal
from bench.load import FailedError, RefusedError, Send
from bench.measures import TOTAL_SLO_S, TTFT_SLO_S
from bench.profiles import ChatPlan, Profile
from bench.progress import Steps
from bench.samples import Results, Timeline, as_mapping
from bench.schedule import SETTLE_S, START_S, part_round_s, round_s, schedule
from bench.stage import Ground
from bench.traces import load_trace
from bench.trial import Arm, Plan, Quiet, Trial, at_level
from bench.v1.tuning import Tuning
from bench.workloads import Lengths, Workload

PATIENT_FROM_S = 600.0
WAKE_S = 60.0
DRIFT = 1.3
"""A capacity that changed by more than this factor is told to the reader."""

_PARTS: dict[str, Callable[[str, float], AbstractAsyncContextManager[list[parts.PartArm]]]] = {
    POSTGRESQL_WAITING: parts.waiting,
    POSTGRESQL_INSERTS: parts.inserts,
    POSTGRESQL_LANES: parts.lanes,
}
_REDIS_PARTS: dict[str, Callable[[int, float], AbstractAsyncContextManager[list[parts.PartArm]]]] = {
    REDIS_GET: parts.redis_get,
    REDIS_SERVICE: parts.redis_service,
}


def begin(profile: Profile) -> Results:
    """An empty result that knows the machine and the plan."""
    plan = [{"part": part.name, "planned_s": round(part.planned_s, 1)} for part in schedule(profile)]
    return Results(
        as_mapping(describe()),
        {
            "profile": asdict(profile),
            "plan": plan,
            "arms": ARMS,
            "capacity_per_s": {},
            "capacity_after_per_s": {},
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
        ground: Callable[[Profile, Callable[[str], None]], Ground],
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
        self._tuning = Tuning()
        self._trace = load_trace()
        self._workloads = standard_workloads(self._trace)
        # A short run looks once and marks what was busy; a long one has time to wait and to repeat.
        patient = profile.budget_s >= PATIENT_FROM_S
        self._quiet = Quiet(look_s=SETTLE_S, patience_s=5.0 if patient else 0.0, repeats=3 if patient else 0)

    async def __call__(self) -> None:
        """Everything the profile asks for, until it is done or its time is over."""
        self._until = self._clock() + self._profile.budget_s
        async with self._ground(self._profile, self._steps.say) as stage:
            self._steps.advance(START_S * len(self._profile.arms))
            self._results.environment = {**self._results.environment, "ground": stage.ground}
            await self._settle(stage)
            await self._tune(stage)
            await self._turns(stage)
            await self._parts()
            for chat in self._profile.chats:
                await self._chat(stage, chat)
        self._mark_busy()
        self._results.complete = all("time was up" not in note for note in self._results.notes)

    async def _settle(self, stage: Ground) -> None:
        known = {**names(), **histories(self._workloads["returning_users"])}
        for arm in stage.contestants:
            await stage.settle(arm, known)

    async def _tune(self, stage: Ground) -> None:
        plan = self._profile.tune
        if plan is None or "v1_tuned" not in stage.contestants:
            return
        tuned = self._results.configuration["tuned"]
        if not tuned:
            self._steps.say("v1_tuned: the best constants on this machine")
            found = await sweep.tune(
                stage.contestants["v1_tuned"],
                self._workloads["returning_users"],
                plan,
                seed=self._profile.seed,
            )
            tuned |= found.document()
            self._journal.tell("tuned", tuned)
        self._tuning = Tuning(**{name: about["chosen"] for name, about in tuned.items()})
        await stage.restart("v1_tuned", self._tuning.environment())
        self._steps.advance(sweep.planned_s(plan))

    async def _turns(self, stage: Ground) -> None:
        plan = self._profile.components
        found = {name: stage.contestants[name] for name in plan.arms}
        databases = {name: arm.database_url for name, arm in found.items()}
        caches = {name: arm.redis_url for name, arm in found.items()}
        made = (
            (POSTGRESQL, postgresql_arms(databases, plan.block_s, self._tuning)),
            (REDIS, redis_arms(caches, plan.block_s, self._tuning, prefix=stage.prefix)),
        )
        for experiment, opened in made:
            async with opened as arms:
                wanted = self._plan(experiment, plan.rounds, plan.warm_up)
                await self._rounds(arms, wanted, len(arms) * (plan.block_s + SETTLE_S))

    async def _parts(self) -> None:
        plan = self._profile.components
        if not plan.parts:
            return
        async with _part_servers() as (database_url, redis_port):
            for experiment, block_s in plan.parts:
                if experiment in _PARTS:
                    opened = _PARTS[experiment](database_url, block_s)
                else:
                    opened = _REDIS_PARTS[experiment](redis_port, block_s)
                async with opened as arms:
                    wanted = self._plan(experiment, plan.rounds, plan.warm_up)
                    await self._rounds(arms, wanted, part_round_s(experiment, block_s))

    async def _chat(self, stage: Ground, chat: ChatPlan) -> None:
        workload = self._workloads[chat.workload]
        async with AsyncExitStack() as closing:
            if chat.experiment == LEVERS:
                self._steps.say("starting an engine for each lever")
                opened = levers.opened(chat.arms, self._profile.engine, histories(workload))
                ways = await closing.enter_async_context(opened)
                key = LEVERS
            else:
                ways = {arm: stage.contestants[arm].sender for arm in chat.arms}
                key = chat.workload
            await _wake(ways, workload)
            capacity = await self._capacity(key, chat, ways["v1"], workload)
            if capacity <= 0:
                self._results.notes.append(f"{chat.experiment}: V1 answered nothing, so nothing was compared")
                return
            self._set_slo(chat.experiment, capacity)
            for level in chat.levels:
                offer = Offer(level * capacity, chat.block_s, self._profile.pattern, self._profile.deadline_s)
                arms = [self._arm(stage, chat, name, ways[name], offer) for name in chat.arms]
                plan = at_level(self._plan(chat.experiment, chat.rounds, chat.warm_up), level)
                await self._rounds(arms, plan, round_s(chat))
            if self._is_last(chat):
                await self._look_again(key, chat, capacity, ways["v1"])

    def _arm(self, stage: Ground, chat: ChatPlan, name: str, send: Send, offer: Offer) -> Arm:
        if chat.experiment == FAIRNESS:
            return CrowdArm(name, send, Lengths(self._trace), chat.block_s, self._profile.deadline_s)
        arm = ChatArm(name, send, self._workloads[chat.workload], offer, self._trace)
        if chat.experiment == STEP:
            return StepArm(arm, stage.contestants[name], chat.block_s, self._keep_timeline)
        return arm

    def _keep_timeline(self, line: Timeline) -> None:
        self._results.timelines.append(line)
        self._journal.tell("timeline", asdict(line))

    async def _capacity(self, key: str, chat: ChatPlan, send: Send, workload: Workload) -> float:
        """Measured once for a workload; a resumed run goes on with the one it began with."""
        known: dict[str, float] = self._results.configuration["capacity_per_s"]
        if key not in known:
            self._steps.say(f"{key.replace('_', ' ')}: how much V1 can do")
            known[key] = await capacity_per_s(
                send, workload, duration_s=chat.calibrate_s, seed=self._profile.seed
            )
            self._journal.tell("capacity_per_s", {key: known[key]})
            self._steps.advance(chat.calibrate_s)
        return known[key]

    def _set_slo(self, experiment: str, capacity: float) -> None:
        """One and four seconds; more where eight users of V1 would wait longer than that by themselves."""
        slower = max(1.0, CREW / capacity / TOTAL_SLO_S)
        bounds = {"ttft_s": TTFT_SLO_S * slower, "total_s": TOTAL_SLO_S * slower}
        self._results.configuration["slo"][experiment] = bounds

    def _is_last(self, chat: ChatPlan) -> bool:
        same = [other for other in self._profile.chats if other.experiment == chat.experiment]
        return same[-1] is chat and chat.experiment == chat.workload

    async def _look_again(self, key: str, chat: ChatPlan, before: float, send: Send) -> None:
        """Loads are shares of a capacity measured at the start: say so when it did not stay."""
        if self._clock() >= self._until:
            return
        self._steps.say(f"{key.replace('_', ' ')}: how much V1 can do now")
        seed = spread_seed(self._profile.seed, "after")
        workload = self._workloads[chat.workload]
        after = await capacity_per_s(send, workload, duration_s=chat.calibrate_s / 2, seed=seed)
        self._steps.advance(chat.calibrate_s / 2)
        self._results.configuration["capacity_after_per_s"][key] = after
        if after and not 1 / DRIFT <= after / before <= DRIFT:
            self._results.notes.append(
                f"{key}: V1's capacity went from {before:.2f} to {after:.2f} requests a second "
                "during the run, so the loads are other shares of it than they are called"
            )

    def _plan(self, experiment: str, rounds: int, warm_up: int) -> Plan:
        return Plan(experiment, rounds, warm_up=warm_up, seed=self._profile.seed, quiet=self._quiet)

    async def _rounds(self, arms: Sequence[Arm], plan: Plan, planned_round_s: float) -> None:
        """Rounds that a resumed run has already are skipped; none begins after the budget."""
        done = self._done(plan)
        self._steps.advance(done * planned_round_s)
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
                self._steps.advance(planned_round_s)
                done = max(done, blocks[0].round + 1)
                if done < plan.rounds and self._is_over(plan, done):
                    return
        self._lose_patience(plan)

    def _lose_patience(self, plan: Plan) -> None:
        """Where most blocks were busy although they were waited for, waiting only costs the last parts."""
        mine = [block for block in self._results.blocks if block.experiment == plan.experiment]
        if self._quiet.patience_s and 2 * sum(block.busy for block in mine) > len(mine):
            self._quiet = replace(self._quiet, patience_s=0.0, repeats=0)
            self._results.notes.append(
                f"the machine did not become quiet during {plan.experiment}: from there on no block was "
                "waited for or repeated"
            )

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


async def _wake(ways: Mapping[str, Send], workload: Workload) -> None:
    """One question to every arm: an Ollama loads its model with the first, which is no latency of an arm."""
    for name, send in ways.items():
        question = workload.sessions(1, seed=0, namespace=f"wake-{name}")[0].questions[0]
        with suppress(RefusedError, FailedError, TimeoutError):
            async with asyncio.timeout(WAKE_S):
                await send(question)


@asynccontextmanager
async def _part_servers() -> AsyncIterator[tuple[str, int]]:
    """A PostgreSQL and a Redis without a password for the component experiments, which all arms share."""
    with TemporaryDirectory(prefix="sentinel-bench-") as folder:
        async with embedded.stack(data_dir=Path(folder) / "pg", engine=None, redis=False) as ground:
            server = embedded.Redis(Path(folder) / "redis", password="", settings={"save": '""'})
            server.start()
            try:
                yield ground.database_url, server.port
            finally:
                server.stop()
