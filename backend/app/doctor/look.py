"""Asks the running services. Reads only; at most, an engine makes one token with a loaded model."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fluido.llm import shown_address

from . import engine, postgres, redis, replica
from .facts import ClockFacts, EngineFacts, Facts, Reason
from .reasons import reason_of

TOKEN_WAIT_S = 20.0
LOOK_S = 30.0
Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine is, and what lets us in."""

    url: str
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where things are; what is None or empty is not looked at. `key` opens the replicas."""

    replicas: tuple[str, ...] = ()
    database_url: str | None = None
    redis_url: str | None = None
    engines: tuple[EngineAddress, ...] = ()
    key: str = ""


class Looking:
    """One round: what was seen beside the facts, and what could not be seen."""

    def __init__(self) -> None:
        self.clocks: list[ClockFacts] = []
        self.failed: dict[str, Reason] = {}
        self.unseen: list[str] = []

    async def of(self, name: str, url: str | None, read: Callable[[str], Awaitable[Fact]]) -> Fact | None:
        """What `read` finds at `url`, or None; then the reason is kept."""
        if url is None:
            self.unseen.append(name)
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                return await read(url)
        except Exception as error:  # noqa: BLE001 - whatever a service does wrong is what is to be told
            self.failed[name] = reason_of(error)
            return None


async def look(addresses: Addresses, *, token_wait_s: float = TOKEN_WAIT_S) -> Facts:
    """Ask every service at once. Raises nothing: who does not answer is a fact."""
    round_ = Looking()
    clocks = round_.clocks

    async def model(where: EngineAddress) -> EngineFacts | None:
        def read(url: str) -> Awaitable[EngineFacts]:
            return engine.read(url, token_wait_s, api_key=where.api_key, headers=where.headers)

        return await round_.of(shown_address(where.url), where.url, read)

    replicas, database, cache, models = await asyncio.gather(
        asyncio.gather(
            *(
                round_.of(url, url, lambda it: replica.read(it, addresses.key, clocks))
                for url in addresses.replicas
            )
        ),
        round_.of("postgresql", addresses.database_url, lambda url: postgres.read(url, clocks)),
        round_.of("redis", addresses.redis_url, lambda url: redis.read(url, clocks)),
        asyncio.gather(*map(model, addresses.engines)),
    )
    lists = {"sentinel": addresses.replicas, "engine": addresses.engines}
    nothing = [part for part, given in lists.items() if not given]
    return Facts(
        replicas=tuple(found for found in replicas if found is not None),
        postgres=database,
        redis=cache,
        engines=tuple(found for found in models if found is not None),
        clocks=tuple(clocks),
        unseen=(*round_.unseen, *nothing),
        asked_replicas=addresses.replicas,
        failed=round_.failed,
    )
