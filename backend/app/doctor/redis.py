"""Facts of a Redis: INFO, CONFIG GET where it is allowed, TIME, and how long a PING takes."""

import asyncio
import ipaddress
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from fluido.redis import Redis, RedisError, once

from .facts import ClockFacts, RedisFacts

PINGS = 20
APART_S = 0.025  # half a second in all: a stall of a tenth is met
TIMEOUT_S = 3.0


async def read(url: str, clocks: list[ClockFacts]) -> RedisFacts:
    """Raises RedisError when nobody answers or lets us in."""
    client = Redis.from_url(
        url, retry=once(), socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
    )
    try:
        await client.ping()
        pings_ms = [await _ping_ms(client) for _ in range(PINGS)]
        info: Mapping[str, Any] = await client.info()
        began_s = time.time()
        seconds, micros = await client.time()
        half_s = (time.time() - began_s) / 2
        is_open = await _is_open(client)
    finally:
        await client.aclose()
    clocks.append(ClockFacts("Redis", int(seconds) + int(micros) / 1e6 - began_s - half_s, half_s))
    return RedisFacts(
        version=str(info["redis_version"]),
        maxmemory=int(info["maxmemory"]),
        policy=str(info["maxmemory_policy"]),
        used=int(info["used_memory"]),
        evicted=int(info["evicted_keys"]),
        ping_ms_p50=median(pings_ms),
        ping_ms_max=max(pings_ms),
        is_open=is_open,
    )


async def _ping_ms(client: Redis) -> float:
    await asyncio.sleep(APART_S)
    began_s = time.perf_counter()
    await client.ping()
    return (time.perf_counter() - began_s) * 1e3


async def _is_open(client: Redis) -> bool:
    """Whether it takes anybody's connection from beyond loopback. False where CONFIG is not allowed."""
    try:
        set_to = {
            name: str((await client.config_get(name)).get(name, ""))
            for name in ("bind", "protected-mode", "requirepass")
        }
    except RedisError:
        return False
    if set_to.get("requirepass") or set_to.get("protected-mode") == "yes":
        return False
    # No address means all of them; a "-" before one means that it may be missing.
    places = set_to.get("bind", "").split() or ["0.0.0.0"]  # noqa: S104 - nothing is bound here
    return any(not _is_loopback(place.lstrip("-")) for place in places)


def _is_loopback(place: str) -> bool:
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return False
