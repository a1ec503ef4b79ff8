"""How the tests of the dispatcher ask, and what they expect of every stream."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fluido.llm import Call, Dispatcher, Engine, Message, Timings
from fluido.testing.virtual_loop import VirtualLoop


def ask(text: str = "hola", **more: object) -> Call:
    """One question."""
    return Call((Message("user", text),), **more)  # type: ignore[arg-type]


async def answer(dispatcher: Dispatcher, call: Call | None = None) -> tuple[str, Timings]:
    """The text and the one end, after which nothing comes."""
    text, end = "", None
    async for item in dispatcher.stream(call or ask()):
        if isinstance(item, Timings):
            assert end is None
            end = item
        else:
            assert end is None, "nothing comes after the end"
            text += item.text
    assert end is not None
    return text, end


async def ticks(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def in_virtual_time(scene: Coroutine[Any, Any, None]) -> None:
    """Play `scene` on a loop whose clock jumps to what comes next."""
    VirtualLoop().run(scene)


def now_s() -> float:
    """The clock of the running loop."""
    return asyncio.get_running_loop().time()


def dispatcher_of(*engines: Engine, **more: object) -> Dispatcher:
    """One that lives by the clock of the running loop."""
    return Dispatcher(engines, clock=now_s, **more)  # type: ignore[arg-type]
