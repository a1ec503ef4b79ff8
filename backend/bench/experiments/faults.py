"""Faults of every part under load: what was acknowledged, and what of it is lost or there twice."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.catalogue import FAULTS
from bench.experiment import Context
from bench.faults.faults import Fault, short, shuffled
from bench.faults.run import Run
from bench.faults.scene import Scene as Place
from bench.trial import Scene, Stand, Taken

SHARE = 0.6
MEASURE_S = 6.0
START_S = 40.0
"""To start two replicas, a replicated PostgreSQL, Redis with sentinels and two engines, and to end them."""


@dataclass(frozen=True, slots=True)
class _Hurt:
    """One block: the whole place is brought up, loaded, hurt part by part, and read at the end."""

    faults: Sequence[Fault]
    name: str = "v2"

    async def run(self, seed: int) -> Taken:
        place = Place(needs_disk=False, needs_clock=False)
        async with place:
            run = Run(
                place,
                shuffled(self.faults, seed),
                seed=seed,
                share=SHARE,
                measure_s=MEASURE_S,
                say=lambda _: None,
            )
            outcome = await run()
        verdict = outcome.verdict
        figures = {
            "acknowledged": float(outcome.acknowledged),
            "lost": float(len(verdict.lost)),
            "doubled": float(len(verdict.doubled)),
            "disordered": float(len(verdict.disordered) + len(verdict.misplaced)),
            "leaks": float(len(outcome.leaks)),
            "faults": float(len(outcome.windows)),
            "skipped": float(len(outcome.skipped)),
        }
        return Taken((), figures)


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults that happen most, once each, in each round in another order."""

    rounds: int = 1
    name: str = FAULTS
    levels: tuple[float, ...] = (1.0,)

    @property
    def processes(self) -> tuple[str, ...]:
        return ()

    def round_s(self) -> float:
        return START_S + 1.5 * MEASURE_S + 8.0 + sum(fault.settle_s + 4.0 for fault in short())

    @asynccontextmanager
    async def opened(self, context: Context) -> AsyncIterator[Stand]:
        del context

        @asynccontextmanager
        async def stand(number: int) -> AsyncIterator[list[Scene]]:
            del number
            yield [Scene(1.0, [_Hurt(short())])]

        yield stand
