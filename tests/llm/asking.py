"""How the tests of the dispatcher ask, and what they expect of every stream."""

import asyncio

from fluido.llm import Call, Dispatcher, Message, Timings


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
