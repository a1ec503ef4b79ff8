"""`QueuePool limit ... reached`, provoked on your own server: three bursts of 300 callers, stock and fluido.

Each caller keeps a connection for 0.2 s and waits at most 2 s for one. DATABASE_URL names the server, which
must grant 50 connections; nothing is written. `python queuepool_limit.py`
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import create_async_engine as stock

from fluido.sqlalchemy import Limits, create_async_engine

CALLERS, KEEPS_S, PATIENCE_S, ROUNDS = 300, 0.2, 2.0, 3


async def answered(engine: AsyncEngine, callers: int) -> int:
    async def call() -> bool:
        try:
            async with engine.connect() as connection:
                await connection.execute(text(f"SELECT pg_sleep({KEEPS_S})"))
        except PoolTimeoutError:
            return False
        return True

    return sum(await asyncio.gather(*(call() for _ in range(callers))))


async def compare(url: str, callers: int = CALLERS, rounds: int = ROUNDS) -> dict[str, list[int]]:
    pools: dict[str, tuple[Callable[..., AsyncEngine], dict[str, Any]]] = {
        "SQLAlchemy, 5 + 10": (stock, {}),
        "fluido, Limits(min=2, max=50)": (create_async_engine, {"limit": Limits(min=2, max=50)}),
        "SQLAlchemy, 50 + 0": (stock, {"pool_size": 50, "max_overflow": 0}),
    }
    found = {}
    for name, (make, arguments) in pools.items():
        engine = make(url, pool_timeout=PATIENCE_S, **arguments)
        found[name] = [await answered(engine, callers) for _ in range(rounds)]
        await engine.dispose()
    return found


if __name__ == "__main__":
    for name, answers in asyncio.run(compare(os.environ["DATABASE_URL"])).items():
        print(f"{name:32} answered {', '.join(map(str, answers))} of {CALLERS}")
