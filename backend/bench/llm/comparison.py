"""Arms against V1 under a workload at a share of V1's capacity, and the grid of slots and conversations."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from bench.environment import ThisMachine
from bench.experiments import ChatArm, Offer, capacity_per_s, histories, standard_workloads
from bench.llm.arms import FluidoArm, Levers, StaticArm
from bench.llm.stage import Kitchen, Served, engines
from bench.load import Load, Reply
from bench.samples import Block, Sample
from bench.traces import load_trace
from bench.trial import Plan, Quiet, Trial
from bench.workloads import Lengths, Question, ReturningUsers, Workload


class Contestant(Protocol):
    """An arm that can be opened, asked and closed."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ask(self, question: Question) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Size:
    """How long a comparison takes: rounds, and seconds of a block. `quiet_s` waits for a quiet machine."""

    rounds: int = 5
    block_s: float = 12.0
    capacity_s: float = 15.0
    quiet_s: float = 2.0
    seed: int = 1


@asynccontextmanager
async def opened(contestants: Sequence[Contestant]) -> AsyncIterator[None]:
    """All of them open."""
    async with AsyncExitStack() as closing:
        for contestant in contestants:
            await contestant.open()
            closing.push_async_callback(contestant.close)
        yield


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison gave.

    Blocks of all arms, V1's capacity, and how the engines introduced themselves.
    """

    blocks: list[Block]
    capacity_per_s: float
    ground: tuple[str, ...]
    limits: dict[str, float]


async def compare_at(
    workload_name: str,
    levels: Sequence[float],
    arms: Sequence[Levers],
    kitchen: Kitchen,
    *,
    size: Size,
    say: Callable[[str], None],
    rate_per_s: float | None = None,
) -> Compared:
    """V1 and `arms` under one workload. `rate_per_s`, V1's capacity, is measured unless it is given."""
    workload = standard_workloads()[workload_name]
    before = histories(workload)
    trace = load_trace()
    async with engines(kitchen, 1 + len(arms)) as served:
        contestants: dict[str, Contestant] = {"v1": _static(served[0], kitchen, before)}
        ours = {
            levers.name: _fluido([place], kitchen, before, levers)
            for levers, place in zip(arms, served[1:], strict=True)
        }
        contestants.update(ours)
        async with opened(list(contestants.values())):
            capacity = rate_per_s or await _capacity(contestants["v1"], workload, size)
            say(f"{workload_name}: V1 completes {capacity:.2f} answers/s")
            blocks: list[Block] = []
            for level in levels:
                offer = Offer(level * capacity, size.block_s)
                chat = [ChatArm(n, c.ask, workload, offer, trace) for n, c in contestants.items()]
                plan = Plan(
                    workload_name, size.rounds, level, seed=size.seed, quiet=Quiet(patience_s=size.quiet_s)
                )
                async for found in Trial(chat, plan, ThisMachine()).rounds():
                    blocks += found
                    say(f"{workload_name} at {level:.0%}: round {found[0].round} of {size.rounds}")
            limits = {name: arm.dispatcher.flows()[0].stats().value for name, arm in ours.items()}
        return Compared(blocks, capacity, tuple(place.line for place in served[:1]), limits)


async def _capacity(v1: Contestant, workload: Workload, size: Size) -> float:
    return await capacity_per_s(v1.ask, workload, duration_s=size.capacity_s, seed=size.seed)


def _static(place: Served, kitchen: Kitchen, before: Mapping[str, Sequence[tuple[str, str]]]) -> StaticArm:
    return StaticArm(place.url, kitchen.dialect, place.model, before)


def _fluido(
    places: Sequence[Served],
    kitchen: Kitchen,
    before: Mapping[str, Sequence[tuple[str, str]]],
    levers: Levers,
) -> FluidoArm:
    slots = kitchen.slots if kitchen.dialect == "ollama" else None
    urls = [place.url for place in places]
    return FluidoArm(urls, kitchen.dialect, places[0].model, before, levers, slots=slots)


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the grid: what one arm needed, seconds end to end and to the first token."""

    slots: int
    conversations: int
    arm: str
    total_s: tuple[float, ...]
    ttft_s: tuple[float, ...]
    failed: int


async def residency_cell(
    kitchen: Kitchen, conversations: int, arms: Sequence[Levers], *, turns: int, size: Size
) -> list[Cell]:
    """`conversations` people talk at once, each waiting for the answer before a short thought.

    All arms ask the same questions; they take turns in halves, so that drift hits them alike.
    """
    workload = ReturningUsers(Lengths(load_trace()), users=conversations)
    before = histories(workload)
    async with engines(kitchen, len(arms)) as served:
        ours = [_fluido([p], kitchen, before, levers) for levers, p in zip(arms, served, strict=True)]
        async with opened(ours):
            found: dict[str, list[Sample]] = {levers.name: [] for levers in arms}
            for half in range(2):
                for levers, arm in zip(arms, ours, strict=True):
                    seed = size.seed * 1000 + half
                    found[levers.name] += await _talk(arm, workload, conversations, turns // 2, seed)
    return [
        Cell(
            slots=kitchen.slots,
            conversations=conversations,
            arm=name,
            total_s=tuple(s.total_s for s in samples if s.first_s is not None),
            ttft_s=tuple(s.ttft_s for s in samples if s.ttft_s is not None),
            failed=sum(s.first_s is None for s in samples),
        )
        for name, samples in found.items()
    ]


async def _talk(
    arm: Contestant, workload: ReturningUsers, people: int, turns: int, seed: int
) -> list[Sample]:
    visits = workload.sessions(people * turns, seed=seed, namespace="bench")
    load = Load(arm.ask)

    async def person(index: int) -> list[Sample]:
        source = random.Random(seed * 100 + index)
        samples = []
        mine = [v for v in visits if v.questions[0].conversation.endswith(f"-{index}")]
        for visit in mine:
            samples += await load.open_loop([visit], [0.0])
            await asyncio.sleep(source.expovariate(4.0))
        return samples

    results = await asyncio.gather(*(person(index) for index in range(people)))
    return [sample for samples in results for sample in samples]
