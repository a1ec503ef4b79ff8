"""One run from start to end: the stage, the components, the chats; what was measured is never lost."""

import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
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
    scene,
)
from bench.change import StepArm
from bench.components import names, postgresql_arms, redis_arms
from bench.crowd import CrowdArm
from bench.doors import Doors, Engines, Processes, wake
from bench.environment import Machine, ThisMachine, describe
from bench.experiments import (
    CREW,
    POPULATION,
    ChatArm,
    Offer,
    capacity_per_s,
    histories,
    standard_workloads,
    warming,
)
from bench.journal import Journal
from bench.load import Send
from bench.measures import TOTAL_SLO_S, TTFT_SLO_S
from bench.profiles import ChatPlan, Profile
from bench.progress import Steps
from bench.samples import Results, Timeline, as_mapping
from bench.schedule import SETTLE_S, START_S, part_round_s, round_s, schedule, turn_round_s
from bench.stage import Ground
from bench.traces import load_trace
from bench.trial import Arm, Lasting, Plan, Quiet, Rounds, Scene, Stand, in_turn, incarnations
from bench.v1.tuning import Tuning
from bench.workloads import Lengths, Workload

PATIENT_FROM_S = 600.0
WARM_LEVEL = 0.9
"""Share of V1's capacity that is offered while the arms warm up."""
DRIFT = 1.3
"""A capacity that changed by more than this factor is told to the reader."""

Opened = Callable[[], AbstractAsyncContextManager[Sequence[Lasting]]]

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
        self._incarnation = 1 + max((block.incarnation for block in results.blocks), default=0)
        self._populations = itertools.count(self._incarnation)
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

        def of_postgresql() -> AbstractAsyncContextManager[Sequence[Lasting]]:
            return postgresql_arms(databases, plan.block_s, self._tuning)

        def of_redis() -> AbstractAsyncContextManager[Sequence[Lasting]]:
            return redis_arms(caches, plan.block_s, self._tuning, prefix=stage.prefix)

        await self._component(POSTGRESQL, of_postgresql, turn_round_s(plan, POSTGRESQL))
        await self._component(REDIS, of_redis, turn_round_s(plan, REDIS))

    async def _parts(self) -> None:
        plan = self._profile.components
        if not plan.parts:
            return
        async with _part_servers() as (database_url, redis_port):
            for experiment, block_s in plan.parts:
                if experiment in _PARTS:
                    opened: Opened = partial(_PARTS[experiment], database_url, block_s)
                else:
                    opened = partial(_REDIS_PARTS[experiment], redis_port, block_s)
                await self._component(experiment, opened, part_round_s(plan, experiment, block_s))

    async def _component(self, experiment: str, opened: Opened, planned_round_s: float) -> None:
        """Pools and clients are opened for each round: one that learned well must not stay for the run."""
        plan = self._profile.components
        warm_s = plan.warm_up_s(experiment)

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            del number
            async with opened() as arms:
                warm_up = Scene(1.0, [arm.lasting(warm_s) for arm in arms], warm_up=True)
                yield [*([warm_up] if warm_s else []), Scene(1.0, arms)]

        await self._rounds(stand, self._plan(experiment, plan.rounds, (1.0,)), planned_round_s)

    async def _chat(self, stage: Ground, chat: ChatPlan) -> None:
        workload = self._workloads[chat.workload]
        async with AsyncExitStack() as closing:
            doors: Doors = Processes(stage, workload, chat.arms)
            key = chat.workload
            if chat.experiment == LEVERS:
                self._steps.say("starting an engine for each lever")
                places = await closing.enter_async_context(levers.places(chat.arms, self._profile.engine))
                doors, key = Engines(places, workload), LEVERS
            async with doors.as_they_are() as ways:
                await wake(ways, workload)
                capacity = await self._capacity(key, chat, ways["v1"], workload)
            if capacity <= 0:
                self._results.notes.append(f"{chat.experiment}: V1 answered nothing, so nothing was compared")
                return
            self._set_slo(chat.experiment, capacity)
            plan = self._plan(chat.experiment, chat.rounds, chat.levels)
            await self._rounds(self._stand(stage, chat, doors, capacity), plan, round_s(chat))
            if self._is_last(chat):
                async with doors.as_they_are() as ways:
                    await self._look_again(key, chat, capacity, ways["v1"])

    def _stand(self, stage: Ground, chat: ChatPlan, doors: Doors, capacity: float) -> Stand:
        """A round of a chat: new processes, people with the same past, a warm-up, the loads in turn."""
        workload = self._workloads[chat.workload]

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            people = f"{POPULATION}-{next(self._populations)}"
            offer = Offer(0.0, chat.block_s, self._profile.pattern, self._profile.deadline_s, people)
            async with doors.anew(people) as ways:
                scenes = []
                if chat.warm_s:
                    begun = replace(offer, rate_per_s=WARM_LEVEL * capacity, block_s=chat.warm_s)
                    warm, asked = warming(workload, begun)
                    arms = [ChatArm(name, way, warm, asked, self._trace) for name, way in ways.items()]
                    scenes.append(Scene(WARM_LEVEL, arms, warm_up=True))
                for level in in_turn(chat.levels, number):
                    asked = replace(offer, rate_per_s=level * capacity)
                    open_loops = [
                        ChatArm(name, way, workload, asked, self._trace) for name, way in ways.items()
                    ]
                    scenes.append(Scene(level, [self._arm(stage, chat, arm, number) for arm in open_loops]))
                yield scenes

        return stand

    def _arm(self, stage: Ground, chat: ChatPlan, arm: ChatArm, number: int) -> Arm:
        """What runs in an arm's place where the experiment is more than an open loop."""
        if chat.experiment == FAIRNESS:
            deadline_s = self._profile.deadline_s
            return CrowdArm(arm.name, arm.send, Lengths(self._trace), chat.block_s, deadline_s)
        if chat.experiment == STEP:
            contestant = stage.contestants[arm.name]
            return StepArm(arm, contestant, chat.block_s, self._keep_timeline, number=number)
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

    def _plan(self, experiment: str, rounds: int, levels: tuple[float, ...]) -> Plan:
        seed = self._profile.seed
        return Plan(experiment, rounds, levels[0], seed=seed, quiet=self._quiet, levels=levels)

    async def _rounds(self, stand: Stand, plan: Plan, planned_round_s: float) -> None:
        """What a resumed run has already is skipped; nothing begins after the budget."""
        known = self._known(plan)
        scene_s = planned_round_s / len(plan.levels)
        self._steps.advance(len(known) * scene_s)
        if len(known) >= plan.rounds * len(plan.levels) or self._is_over(plan):
            return
        self._steps.say(scene(plan.experiment, *plan.levels))
        rounds = Rounds(plan, self._machine, clock=self._clock)
        first, self._incarnation = self._incarnation, self._incarnation + plan.rounds
        async with aclosing(incarnations(stand, plan, rounds, known=known, first=first)) as played:
            async for blocks in played:
                self._results.blocks.extend(blocks)
                self._journal.add(blocks)
                if not blocks[0].warm_up:
                    self._steps.advance(scene_s)
                    if self._is_over(plan):
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

    def _is_over(self, plan: Plan) -> bool:
        """Whether the budget is spent while something is left of the plan; the reader is told what."""
        known = self._known(plan)
        left = len(known) < plan.rounds * len(plan.levels)
        if not left or self._clock() < self._until:
            return False
        for level in plan.levels:
            done = sum(found == level for _, found in known)
            if done < plan.rounds:
                self._results.notes.append(
                    f"{plan.experiment} at {level:.0%}: time was up after {done} of {plan.rounds} rounds"
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
            self._results.notes.append(
                f"the machine was busy with something else before {share:.0%} of the blocks: "
                "trust the ratios less, run again when it is quiet"
            )


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
