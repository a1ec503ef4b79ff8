"""Two engines: by what each of them holds, by the least work, in turn; new conversations, one arm a way."""

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack

from bench.environment import ThisMachine
from bench.experiments import ChatArm, Offer, standard_workloads
from bench.llm.arms import V2, FluidoArm, Memory
from bench.llm.comparison import Compared, Contestant, Size
from bench.llm.stage import Kitchen, Served, engines
from bench.load import Reply
from bench.traces import load_trace
from bench.trial import Plan, Quiet, Trial
from bench.workloads import Question

WAYS = ("round_robin", "least_loaded", "affinity")
NEW = "new_conversations"


class Spread:
    """Two services of one engine each and a rule that knows nothing of what they hold."""

    def __init__(self, places: list[Served], kitchen: Kitchen, way: str) -> None:
        memory = Memory({})
        self._arms = [_arm([place], kitchen, memory) for place in places]
        self._turn = itertools.cycle(self._arms)
        self._is_fair = way == "least_loaded"

    async def open(self) -> None:
        """Connect."""
        for arm in self._arms:
            await arm.open()

    async def close(self) -> None:
        """Disconnect."""
        for arm in self._arms:
            await arm.close()

    async def ask(self, question: Question) -> Reply:
        """One question, where the rule sends it."""
        arm = min(self._arms, key=_work) if self._is_fair else next(self._turn)
        return await arm.ask(question)


def _work(arm: FluidoArm) -> int:
    station = arm.dispatcher.stations[0]
    return station.inflight + len(station.queue)


def _arm(places: list[Served], kitchen: Kitchen, memory: Memory) -> FluidoArm:
    slots = kitchen.slots if kitchen.dialect == "ollama" else None
    urls = [place.url for place in places]
    return FluidoArm(urls, kitchen.dialect, places[0].model, {}, V2, slots=slots, memory=memory)


async def two_engines(
    kitchen: Kitchen, size: Size, say: Callable[[str], None], *, rate_per_s: float
) -> Compared:
    """Blocks of the three ways; round robin is the control."""
    workload, trace = standard_workloads()[NEW], load_trace()
    async with engines(kitchen, 2 * len(WAYS)) as served, AsyncExitStack() as closing:
        arms: dict[str, Contestant] = {}
        for at, way in enumerate(WAYS):
            mine = served[2 * at : 2 * at + 2]
            arms[way] = _arm(mine, kitchen, Memory({})) if way == "affinity" else Spread(mine, kitchen, way)
            await arms[way].open()
            closing.push_async_callback(arms[way].close)
        offer = Offer(rate_per_s, size.block_s)
        chat = [ChatArm(way, arm.ask, workload, offer, trace) for way, arm in arms.items()]
        plan = Plan("two_engines", size.rounds, seed=size.seed, quiet=Quiet(patience_s=size.quiet_s))
        blocks = []
        async for found in Trial(chat, plan, ThisMachine()).rounds():
            blocks += found
            say(f"two engines: round {found[0].round} of {size.rounds}")
        return Compared(blocks, rate_per_s, (served[0].line,), {})
