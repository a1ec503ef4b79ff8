"""The only proof that an engine answers again: one token, asked for out of the queue's sight."""

import asyncio
from contextlib import aclosing

from fluido.llm._call import Call, Message, Options
from fluido.llm._engine import Engine
from fluido.llm._errors import StreamBroken

PROOF_S = 10.0


async def say_something(engine: Engine, model: str) -> None:
    """Return when `engine` has said a word. Raises what it raises, and StreamBroken when it is silent."""
    ping = Call((Message("user", "ping"),), model=model, options=Options(num_predict=1))
    try:
        async with asyncio.timeout(PROOF_S), aclosing(engine.stream(ping)) as stream:
            async for _ in stream:
                pass
    except TimeoutError as error:
        raise StreamBroken(f"{engine.name} says nothing") from error
