"""Which lever does what: V1's way to the engine, and ours with one lever more at a time, without HTTP around.

The arms are those of `python -m bench.llm`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bench.llm.arms import APPEND, APPEND_PINS, V2, FluidoArm, StaticArm
from bench.llm.stage import Kitchen, engines
from bench.load import Send
from bench.profiles import EngineName

_LEVERS = {levers.name: levers for levers in (APPEND, APPEND_PINS, V2)}
START_S = 3.0
"""Seconds that one engine takes to start."""


@asynccontextmanager
async def opened(
    arms: Sequence[str],
    engine: EngineName,
    before: Mapping[str, Sequence[tuple[str, str]]],
) -> AsyncIterator[dict[str, Send]]:
    """The way to ask each arm; an engine of its own for each."""
    kitchen = Kitchen(engine=engine, prompt_cache_mib=256)
    async with engines(kitchen, len(arms)) as served, AsyncExitStack() as closing:
        ways: dict[str, Send] = {}
        for name, place in zip(arms, served, strict=True):
            arm: StaticArm | FluidoArm
            if name in _LEVERS:
                arm = FluidoArm([place.url], kitchen.dialect, place.model, before, _LEVERS[name])
            else:
                arm = StaticArm(place.url, kitchen.dialect, place.model, before)
            await arm.open()
            closing.push_async_callback(arm.close)
            ways[name] = arm.ask
        yield ways
