"""A pytest plugin for redis-py's own suite: `FLUIDO_CLIENT=ours` puts the drop-in in the client's place.

`FLUIDO_COUNTS` names a file that gets the number of commands that travelled over shared connections.
"""

import json
import os
from pathlib import Path

import pytest
import redis.asyncio
import redis.asyncio.client
import redis.asyncio.sentinel
import redis.asyncio.utils

if os.environ.get("FLUIDO_CLIENT") == "ours":
    from fluido.redis import Redis
    from fluido.redis import _client as client
    from fluido.redis._muxes import Muxes

    for module in (redis.asyncio, redis.asyncio.client, redis.asyncio.sentinel, redis.asyncio.utils):
        module.Redis = Redis  # type: ignore[assignment,misc,attr-defined]  # the replacement is the point
    redis.asyncio.StrictRedis = Redis  # type: ignore[assignment,misc]

    MUXES: list[Muxes] = []
    made = client.muxes_of

    def remember(*args: object) -> Muxes:
        muxes = made(*args)  # type: ignore[arg-type]
        if muxes not in MUXES:
            MUXES.append(muxes)
        return muxes

    client.muxes_of = remember  # type: ignore[assignment]

    def pytest_sessionfinish(session: pytest.Session) -> None:
        """Tell how much of the suite took the shared way."""
        seen = [muxes.state.tally.frozen(None) for muxes in MUXES]
        counts = {
            name: sum(getattr(each, name) for each in seen)
            for name in ("shared", "opened", "ordinary", "blocking")
        }
        if target := os.environ.get("FLUIDO_COUNTS"):
            Path(target).write_text(json.dumps(counts))
