"""Slow senders are cut, by time and by count, and a refused body is not read on (service.md 14)."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from app.api import create_app
from app.arrivals import Arrivals, protocol
from app.core.settings import Settings
from tests.app.scripted import ScriptedSystem

pytestmark = pytest.mark.anyio

HEAD = b"POST /chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
ASK = b'{"user_id": "ana", "message": "hi"}'
WHOLE = HEAD + f"content-length: {len(ASK)}\r\n\r\n".encode() + ASK


@asynccontextmanager
async def timed(arrivals: Arrivals, system: ScriptedSystem | None = None) -> AsyncIterator[int]:
    """A server whose connections `arrivals` watches; yields its port."""
    app = create_app(system or ScriptedSystem(), Settings())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_level="critical", timeout_graceful_shutdown=1, http=protocol(arrivals)
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.005)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def fed(writer: asyncio.StreamWriter, megabytes: int) -> int:
    """Send until the connection is cut; how many megabytes it took."""
    for sent in range(megabytes):
        try:
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        except ConnectionError:
            return sent
    return megabytes


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What was said until the connection ended."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "part", [b"", b"POST /chat HT", HEAD, HEAD + b"content-length: 400\r\n\r\n{", HEAD + b"x: y"]
)
async def test_a_request_that_does_not_come_is_given_up(part: bytes) -> None:
    arrivals = Arrivals(header_s=0.3, body_s=0.3)
    async with timed(arrivals) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(part)
        said = await ended(reader)
        assert said == b"" or said.startswith(b"HTTP/1.1 408")
        writer.close()
        assert len(arrivals) == 0


async def test_a_drip_does_not_prolong_it() -> None:
    async with timed(Arrivals(header_s=0.4, body_s=0.4)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        ending = asyncio.create_task(ended(reader))
        for _ in range(100):
            if ending.done():
                break
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.05)
        assert ending.done()
        writer.close()


async def test_many_slow_senders_keep_nobody_out() -> None:
    arrivals = Arrivals(header_s=60.0, body_s=60.0, most=20)
    async with timed(arrivals) as port:
        links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        for _, writer in links:
            writer.write(HEAD)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            for _ in range(3):
                assert (await client.get("/health/live")).status_code == 200
        assert len(arrivals) <= 20
        for _, writer in links:
            writer.close()


async def test_whole_requests_are_left_alone() -> None:
    pause = asyncio.Event()
    arrivals = Arrivals(header_s=0.2, body_s=0.2)
    async with timed(arrivals, ScriptedSystem([pause.wait, "late"])) as port:  # type: ignore[list-item]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        await asyncio.sleep(0.5)  # longer than both time-outs: what is slow now is the answer
        assert len(arrivals) == 0
        pause.set()
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}}")
        # Between two requests keep-alive holds, and the next one has its own time.
        await asyncio.sleep(0.4)
        writer.write(WHOLE + WHOLE)
        async with asyncio.timeout(10):
            for _ in range(2):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                await reader.readuntil(b"}}")
        writer.close()


async def test_a_refused_body_is_not_read_on() -> None:
    async with timed(Arrivals(header_s=5.0, body_s=5.0)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"content-length: 400000000\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"connection: close" in head
        sent = await fed(writer, 400)
        assert sent < 100
        writer.close()
