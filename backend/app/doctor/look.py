"""Asks the running services. Reads only; at most, an engine makes one token with a loaded model."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from . import engine, postgres, redis, replica
from .facts import ClockFacts, Facts

TOKEN_WAIT_S = 20.0
LOOK_S = 30.0
Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are; what is None is not looked at. `key` opens the replicas."""

    replicas: tuple[str, ...] = ()
    database_url: str | None = None
    redis_url: str | None = None
    engine_url: str | None = None
    key: str = ""


class Looking:
    """One round: what was seen beside the facts, and what could not be seen."""

    def __init__(self) -> None:
        self.clocks: list[ClockFacts] = []
        self.failed: dict[str, str] = {}
        self.unseen: dict[str, str] = {}

    async def of(self, name: str, url: str | None, read: Callable[[str], Awaitable[Fact]]) -> Fact | None:
        """What `read` finds at `url`, or None; then the reason is kept."""
        if url is None:
            self.unseen[name] = "no se conoce su dirección"
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                return await read(url)
        except Exception as error:  # noqa: BLE001 - whatever a service does wrong is what is to be told
            self.failed[name] = _short(error)
            return None


async def look(addresses: Addresses, *, token_wait_s: float = TOKEN_WAIT_S) -> Facts:
    """Ask every service at once. Raises nothing: who does not answer is a fact."""
    round_ = Looking()
    clocks = round_.clocks
    replicas, database, cache, model = await asyncio.gather(
        asyncio.gather(
            *(
                round_.of(url, url, lambda it: replica.read(it, addresses.key, clocks))
                for url in addresses.replicas
            )
        ),
        round_.of("PostgreSQL", addresses.database_url, lambda url: postgres.read(url, clocks)),
        round_.of("Redis", addresses.redis_url, lambda url: redis.read(url, clocks)),
        round_.of("motor", addresses.engine_url, lambda url: engine.read(url, token_wait_s)),
    )
    return Facts(
        replicas=tuple(found for found in replicas if found is not None),
        postgres=database,
        redis=cache,
        engine=model,
        clocks=tuple(clocks),
        unseen=round_.unseen,
        failed=round_.failed,
    )


def _short(error: Exception) -> str:
    """The first line of an error, without what an address may hold of a password."""
    text = (str(error).splitlines() or [""])[0].strip() or type(error).__name__
    return text[:160]
