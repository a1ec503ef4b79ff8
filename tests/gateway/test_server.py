"""The server by itself: what HTTP allows is understood, what is too much is refused, all is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fluido.gateway._connection import Limits
from fluido.gateway._http import Answer, Request
from fluido.gateway._server import HttpServer
from tests.gateway.conftest import PATIENCE_S, until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session", params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Transports differ."""
    return "asyncio", {"use_uvloop": request.param}


async def echo(request: Request, answer: Answer) -> None:
    if request.error:
        answer.whole(request.error, (), request.why.encode())
        return
    await asyncio.sleep(0)
    answer.whole(
        200, ((b"x-method", request.method.encode()),), request.target.encode() + b"|" + request.body
    )


@asynccontextmanager
async def served(handler=echo, **limits: object) -> AsyncIterator[HttpServer]:
    server = HttpServer(handler, limits=Limits(**limits))  # type: ignore[arg-type]
    await server.open()
    try:
        yield server
    finally:
        await server.close(grace_s=0.1)
        assert not server.held_bytes


class Wire:
    """A client that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
        await self.writer.drain()

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(each.lower().split(": ", 1) for each in head[1:] if each)
            return int(head[0].split()[1]), headers, await self._body(headers)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        if headers.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        while size := int((await self.reader.readline()).strip(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return body

    async def closed(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()


async def wire_to(server: HttpServer) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", server.port))


async def test_requests_on_one_connection_and_before_the_first_answer() -> None:
    async with served() as server:
        wire = await wire_to(server)
        await wire.send(
            "GET /a HTTP/1.1\nHost: x\n\nPOST /b HTTP/1.1\nHost: x\nContent-Length: 2\n\nhiGET /c HTTP/1.1\n"
        )
        await wire.send("Host: x\n\n")
        assert [(await wire.reply())[2] for _ in range(3)] == [b"/a|", b"/b|hi", b"/c|"]
        wire.writer.close()
        await until(lambda: not server.connections)


async def test_bodies_in_chunks_with_an_expectation_and_in_single_bytes() -> None:
    async with served() as server:
        wire = await wire_to(server)
        await wire.send("POST /a HTTP/1.1\nHost: x\nExpect: 100-continue\nTransfer-Encoding: chunked\n\n")
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: no\r\n\r\n":
            await wire.send(bytes([byte]))
        assert (await wire.reply())[2] == b"/a|abcde"


async def test_heads_of_other_kinds() -> None:
    async with served() as server:
        wire = await wire_to(server)
        await wire.send("HEAD /a HTTP/1.1\nHost: x\n\n")
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 3" in head
        await wire.send("GET http://x/abs?q=1 HTTP/1.1\nHost: x\n\n")
        assert (await wire.reply())[2] == b"/abs?q=1|"
        await wire.send("GET /old HTTP/1.0\n\n")
        status, headers, body = await wire.reply()
        assert (status, headers["connection"], body) == (200, "close", b"/old|")
        assert await wire.closed() == b""


async def test_an_upgrade_is_not_made() -> None:
    async with served() as server:
        wire = await wire_to(server)
        await wire.send("GET /a HTTP/1.1\nHost: x\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n\n")
        assert (await wire.reply())[0] == 200
        assert await wire.closed() == b""


async def test_an_answer_without_a_length_for_an_old_client_ends_with_the_connection() -> None:
    async def stream(request: Request, answer: Answer) -> None:
        answer.start(200, ())
        answer.write(b"one")
        answer.write(b"two")
        answer.end()

    async with served(stream) as server:
        wire = await wire_to(server)
        await wire.send("GET /a HTTP/1.0\nConnection: keep-alive\n\n")
        assert (await wire.closed()).endswith(b"\r\n\r\nonetwo")
        wire = await wire_to(server)
        await wire.send("GET /a HTTP/1.1\nHost: x\n\n")
        assert (await wire.reply())[2] == b"onetwo"


async def test_an_answer_that_stops_in_the_middle_does_not_look_whole() -> None:
    async def stream(request: Request, answer: Answer) -> None:
        answer.start(200, ())
        answer.write(b"one")
        raise ValueError("a mistake of ours")

    async with served(stream) as server:
        wire = await wire_to(server)
        await wire.send("GET /a HTTP/1.1\nHost: x\n\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await wire.reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("POST /a HTTP/1.1\nHost: x\nContent-Length: 2000\n\n", 413),
        ("POST /a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n7d0\n" + 2000 * "x" + "\n0\n\n", 413),
        ("GET / HTTP/1.1\nHost: x\nX: " + 70_000 * "y" + "\n\n", 431),
        ("GET / HTTP/1.1\n" + "".join(f"X-{i}: y\n" for i in range(200)) + "\n", 431),
        ("GET /" + 70_000 * "y" + " HTTP/1.1\nHost: x\n\n", 431),
        ("nonsense\n\n", 400),
        ("POST /a HTTP/1.1\nHost: x\nContent-Length: 1\nContent-Length: 2\n\n", 400),
        ("POST /a HTTP/1.1\nHost: x\nContent-Length: 1\nTransfer-Encoding: chunked\n\n", 400),
        ("PRI * HTTP/2.0\n\nSM\n\n", 400),
    ],
)
async def test_what_is_too_much_or_no_http_is_refused_and_the_connection_closed(
    sent: str, status: int
) -> None:
    async with served(body_bytes=1000) as server:
        wire = await wire_to(server)
        await wire.send(sent)
        told, headers, body = await wire.reply()
        assert (told, headers["connection"]) == (status, "close")
        assert body
        await wire.closed()
        wire.writer.close()
        await until(lambda: not server.connections)


async def test_all_bodies_together_are_bounded() -> None:
    async with served(held_bytes=1500, body_bytes=1000) as server:
        first, second = await wire_to(server), await wire_to(server)
        head = "POST /a HTTP/1.1\nHost: x\nContent-Length: 1000\n\n"
        await first.send(head + 900 * "x")
        await until(lambda: server.held_bytes == 900)
        await second.send(head + 1000 * "x")
        assert (await second.reply())[0] == 503
        await first.send(100 * "x")
        assert (await first.reply())[0] == 200
        await until(lambda: not server.held_bytes)


async def test_over_the_bound_the_longest_idle_connection_goes() -> None:
    async with served(connections=20) as server:
        wires = [await wire_to(server) for _ in range(20)]
        await until(lambda: server.connections == 20)
        await wires[0].send("GET /a HTTP/1.1\nHost: x\n\n")  # it is not the longest idle any more
        assert (await wires[0].reply())[0] == 200
        more = [await wire_to(server) for _ in range(5)]
        for wire in wires[1:6]:
            assert await wire.closed() == b""
        for wire in (wires[0], *wires[6:], *more):
            await wire.send("GET /b HTTP/1.1\nHost: x\n\n")
            assert (await wire.reply())[0] == 200
        assert server.turned_away == 5


async def test_a_request_that_does_not_arrive_and_one_that_never_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluido.gateway._server.SWEEP_S", 0.05)
    async with served(arrive_s=0.2, idle_s=0.4) as server:
        half, idle = await wire_to(server), await wire_to(server)
        await half.send("POST /a HTTP/1.1\nHost: x\nContent-Length: 10\n\nhal")
        assert (await half.reply())[0] == 408
        assert await idle.closed() == b""
        await until(lambda: not server.connections)


async def test_the_handler_ends_when_its_client_leaves() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, answer: Answer) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with served(slow) as server:
        wire = await wire_to(server)
        await wire.send("POST /a HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc")
        await began.wait()
        wire.writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()
        await until(lambda: not server.connections)


async def test_closing_lets_what_runs_end() -> None:
    began = asyncio.Event()

    async def slow(request: Request, answer: Answer) -> None:
        began.set()
        await asyncio.sleep(0.2)
        answer.whole(200, (), b"whole")

    server = HttpServer(slow)
    await server.open()
    wire, idle = await wire_to(server), await wire_to(server)
    await wire.send("GET /a HTTP/1.1\nHost: x\n\n")
    await began.wait()
    closing = asyncio.ensure_future(server.close())
    assert (await wire.reply())[2] == b"whole"
    assert await idle.closed() == b""
    await closing
    await server.close()
