"""What a client has opened in a loop is closed with the loop, in whatever state it is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from fluido.redis import Redis

from .scripted import Server


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # of another side's state
            await asyncio.sleep(0.002)


async def busy_apart() -> tuple[Redis, asyncio.Future[Any]]:
    """A client whose link for reads apart is still busy although the write they passed was answered."""
    server = Server()
    client = Redis(host="127.0.0.1", port=await server.start(), socket_timeout=60)
    await client.get("r1")
    mux = client._mux
    assert mux is not None
    first = server.sessions[0]
    first.stalled = True
    write = asyncio.ensure_future(client.append("w2", "x"))
    await until(lambda: mux.split is not None and mux.split.links())
    server.sessions[-1].stalled = True
    read = asyncio.ensure_future(client.get("r3"))
    await until(lambda: "r3" in server.arrived)
    assert len(server.sessions) == 2
    first.stalled = False
    first.pump()
    assert await write == 2
    assert mux.split is None
    assert not read.done()
    return client, read


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_link_for_reads_apart_that_is_still_busy_is_closed_with_its_loop(run: Any) -> None:
    client, read = run(busy_apart())
    assert read.done()
    assert not client.connection_pool._in_use_connections
