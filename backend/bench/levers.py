"""Which lever does what: V1's way to the engine, and ours with one lever more at a time, without HTTP around.

The arms are those of `python -m bench.llm`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from bench.llm.arms import APPEND, APPEND_PINS, V2, FluidoArm, StaticArm
from bench.llm.stage import Kitchen, Served, engines
from bench.load import Send
from bench.profiles import EngineName

_LEVERS = {levers.name: levers for levers in (APPEND, APPEND_PINS, V2)}
START_S = 3.0
"""Seconds that one engine takes to start."""


@dataclass(frozen=True, slots=True)
class Places:
    """An engine of its own for each arm; it stays while the ways to it are opened and closed."""

    kitchen: Kitchen
    served: Mapping[str, Served]

    @asynccontextmanager
    async def opened(self, before: Mapping[str, Sequence[tuple[str, str]]]) -> AsyncIterator[dict[str, Send]]:
        """The way to ask each arm, anew: it knows the conversations of `before` and has learned nothing."""
        async with AsyncExitStack() as closing:
            ways: dict[str, Send] = {}
            for name, place in self.served.items():
                arm: StaticArm | FluidoArm
                if name in _LEVERS:
                    arm = FluidoArm([place.url], self.kitchen.dialect, place.model, before, _LEVERS[name])
                else:
                    arm = StaticArm(place.url, self.kitchen.dialect, place.model, before)
                await arm.open()
                closing.push_async_callback(arm.close)
                ways[name] = arm.ask
            yield ways


@asynccontextmanager
async def places(arms: Sequence[str], engine: EngineName) -> AsyncIterator[Places]:
    """Engines for these arms."""
    kitchen = Kitchen(engine=engine, prompt_cache_mib=256)
    async with engines(kitchen, len(arms)) as served:
        yield Places(kitchen, dict(zip(arms, served, strict=True)))
