"""The link of the fault suite: in order when it is slow, a reset when it is cut."""

import asyncio
from contextlib import suppress

import pytest

from bench.faults.wire import Wire

pytestmark = pytest.mark.anyio


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionResetError):
        while data := await reader.read(100):
            writer.write(data)
    writer.close()


async def test_it_keeps_the_order_and_cuts_with_a_reset() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    wire = await Wire(server.sockets[0].getsockname()[1]).open()
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    wire.delay_s = 0.02
    writer.write(b"slow ")
    assert await reader.readexactly(5) == b"slow "
    writer.write(b"one ")
    wire.delay_s = 0.0
    writer.write(b"two")
    assert await reader.readexactly(7) == b"one two"
    assert wire.cut() == 1
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    await wire.close()
    server.close()


async def test_a_target_that_is_away_ends_the_connection() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    wire = await Wire(port).open()
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    assert await asyncio.wait_for(ended(reader), 5.0)
    writer.close()
    await wire.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True
