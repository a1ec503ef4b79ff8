"""How the shared connection is made, renewed and given back: TLS, Unix sockets, credentials, pushes."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio.connection
import uvloop
from redis.asyncio.retry import Retry
from redis.auth.token import SimpleToken
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, MaxConnectionsError
from redis.exceptions import ConnectionError as RedisConnectionError

from embedded.ports import free_port
from embedded.redis import program
from fluido.redis import Redis, Sharing
from fluido.redis._adapter import obstacle

LOOPS = [asyncio.run, uvloop.run]
Runner = Callable[[Coroutine[Any, Any, None]], None]


def serve(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(program()), "--dir", str(home), "--save", "", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def until_it_answers(client: Redis) -> None:
    async with asyncio.timeout(10.0):
        while True:
            try:
                await client.ping()
            except RedisConnectionError:
                await asyncio.sleep(0.02)
            else:
                return


async def exchange(client: Redis) -> None:
    """Enough traffic, and values large enough, to see a transport that mixes bytes up."""
    values = {f"k{size}": bytes([size % 251]) * size for size in (1, 100, 20_000, 100_000)}
    for _ in range(3):
        await asyncio.gather(*[client.set(key, value) for key, value in values.items()])
        found = await asyncio.gather(*[client.get(key) for key in values for _ in range(20)])
        assert found == [value for value in values.values() for _ in range(20)]
    counts = client.counts()
    assert counts.opened - counts.events.get("reads apart", 0) == 1  # which a busy machine may bring about
    assert counts.fallback is None
    await client.aclose()


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "redis.sock"
    process = serve(tmp_path, "--port", "0", "--unixsocket", str(path))
    yield path
    process.kill()
    process.wait()


@pytest.mark.parametrize("run", LOOPS)
def test_a_unix_socket_is_shared(unix_socket: Path, run: Runner) -> None:
    async def scene() -> None:
        client = Redis(unix_socket_path=str(unix_socket), retry=Retry(NoBackoff(), 0))
        await until_it_answers(client)
        await client.aclose()
        await exchange(Redis(unix_socket_path=str(unix_socket)))

    run(scene())


class TlsFront:
    """Speaks TLS to clients and hands the bytes to a Redis that does not: our embedded binary has no TLS."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self.port = port
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificate, key)
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        server = await asyncio.start_server(self.join, "127.0.0.1", 0, ssl=self.context)
        self.server = server
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self.pass_on(source, sink))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def stop(self) -> None:
        self.server.close()
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("run", LOOPS)
def test_tls_is_shared(redis_url: str, certificate: tuple[Path, Path], run: Runner) -> None:
    address = redis.asyncio.connection.parse_url(redis_url)

    async def scene() -> None:
        front = TlsFront(address["port"], *certificate)
        port = await front.start()
        await exchange(
            Redis(port=port, password=address["password"], ssl=True, ssl_ca_certs=str(certificate[0]))
        )
        await front.stop()

    run(scene())


@pytest.mark.anyio
async def test_rotated_credentials_reach_the_shared_connection(redis_url: str) -> None:
    client = Redis.from_url(redis_url)
    other = Redis.from_url(redis_url)
    await client.acl_setuser("rotated", enabled=True, passwords=["+new"], keys=["*"], commands=["+@all"])
    assert await client.acl_whoami() == "default"
    token = SimpleToken("new", -1, 0, {"oid": "rotated"})
    await client.connection_pool.re_auth_callback(token)
    await asyncio.gather(*[client.set(f"k{n}", n) for n in range(100)])
    users = [entry["user"] for entry in await other.client_list() if entry["cmd"].startswith("set")]
    assert users == ["rotated"]
    assert client.counts().opened == 1
    await client.connection_pool.re_auth_callback(SimpleToken("wrong", -1, 0, {"oid": "rotated"}))
    async with asyncio.timeout(30):
        while not client.counts().events.get("closed: credentials refused"):
            assert await client.set("k", 1)
            await asyncio.sleep(0.01)
    assert await client.set("k", 2)
    assert client.counts().events["closed: credentials refused"] == 1
    await other.acl_deluser("rotated")
    await client.aclose()
    await other.aclose()


@pytest.mark.skipif(
    not hasattr(redis.asyncio.ConnectionPool, "update_active_connections_for_reconnect"),
    reason="redis-py marks no connections before 7.1",
)
@pytest.mark.anyio
async def test_a_maintenance_mark_replaces_the_link_and_loses_nothing(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.ping()
        for _ in range(5):
            calls = [asyncio.create_task(client.incr("n")) for _ in range(100)]
            await asyncio.sleep(0)
            await client.connection_pool.update_active_connections_for_reconnect()
            await asyncio.gather(*calls)
        assert await client.get("n") == b"500"
        assert client.counts().opened > 2
        assert client.counts().retried == 0


@pytest.mark.anyio
async def test_pushes_reach_redis_pys_handlers_in_order(redis_url: str) -> None:
    client = Redis.from_url(redis_url, protocol=3)
    seen: list[Any] = []

    async def handle(push: Any) -> None:
        await asyncio.sleep(0)
        seen.append(push[1])

    connection = await client.connection_pool.get_connection()
    connection._parser.set_invalidation_push_handler(handle)
    await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST")
    assert await connection.read_response() == b"OK"
    await client.connection_pool.release(connection)
    for number in range(20):  # one by one: what comes in one cycle, the server sorts
        assert await client.set(f"k{number}", number)
        assert await client.get(f"k{number}") == b"%d" % number
    for _ in range(100):
        if sum(map(len, seen)) >= 20:
            break
        await asyncio.sleep(0.005)
    assert [key for keys in seen for key in keys] == [b"k%d" % n for n in range(20)]
    await client.aclose()


@pytest.mark.anyio
async def test_nobody_listening_is_redis_pys_own_error_and_is_told_once_a_caller() -> None:
    port = free_port()
    client = Redis(port=port, retry=Retry(NoBackoff(), 2))
    errors = await asyncio.gather(*[client.get("k") for _ in range(50)], return_exceptions=True)
    stock = redis.asyncio.Redis(port=port, retry=Retry(NoBackoff(), 2))
    with pytest.raises(RedisConnectionError) as expected:
        await stock.get("k")
    assert {(type(error), str(error)) for error in errors} == {(type(expected.value), str(expected.value))}
    assert len({id(error) for error in errors}) == 50  # one instance for all would grow a traceback
    await client.aclose()
    await stock.aclose()


@pytest.mark.anyio
async def test_a_wrong_password_is_redis_pys_own_error(redis_url: str) -> None:
    client = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 1))
    client.connection_pool.connection_kwargs["password"] = "wrong"
    with pytest.raises(AuthenticationError, match="invalid username-password pair"):
        await client.get("k")
    await client.aclose()


@pytest.mark.anyio
async def test_callers_beyond_the_line_are_refused(redis_url: str) -> None:
    async with Redis.from_url(redis_url, sharing=Sharing(window=1, max_waiting=5)) as client:
        await client.set("k", 1)
        answers = await asyncio.gather(*[client.get("k") for _ in range(50)], return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, MaxConnectionsError)]
        assert answers.count(b"1") == 50 - len(refused)
        assert client.stats().refused == len(refused) > 0


@pytest.mark.anyio
async def test_when_private_parts_have_moved_the_ordinary_path_serves(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fluido.redis._adapter._CONNECTION_PARTS", ("_reader", "_not_there_any_more"))
    obstacle.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="fluido.redis"):
            async with Redis.from_url(redis_url) as client:
                assert await client.set("k", 1)
                assert await client.get("k") == b"1"
                pipe = client.pipeline()
                pipe.get("k")
                assert await pipe.execute() == [b"1"]
                assert client.counts().fallback == "redis-py has moved _not_there_any_more"
                assert client.counts().shared == 0
    finally:
        obstacle.cache_clear()
    assert [record.message for record in caplog.records] == [
        "commands are not multiplexed: redis-py has moved _not_there_any_more"
    ]


@pytest.mark.anyio
async def test_a_connection_class_that_reads_in_its_own_way_is_left_alone(redis_url: str) -> None:
    class Own(redis.asyncio.connection.Connection):
        async def read_response(self, *args: Any, **kwargs: Any) -> Any:
            return await super().read_response(*args, **kwargs)

    pool = redis.asyncio.ConnectionPool.from_url(redis_url, connection_class=Own)
    client = Redis(connection_pool=pool)
    assert await asyncio.gather(*[client.set("k", n) for n in range(5)]) == [True] * 5
    assert client.counts().shared == 0
    assert client.counts().fallback == "Own.read_response is not redis-py's own"
    await pool.aclose()


@pytest.mark.anyio
async def test_no_task_and_no_timer_is_made_for_a_command(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        await client.set("k", 1)
        loop = asyncio.get_running_loop()
        made: list[str] = []
        loop.set_task_factory(
            lambda loop, coro, **kw: made.append("task") or asyncio.Task(coro, loop=loop, **kw)
        )  # type: ignore[arg-type, func-returns-value]
        timers, later = [], loop.call_later
        loop.call_later = lambda *args, **kw: timers.append(args) or later(*args, **kw)  # type: ignore[method-assign]
        try:
            for _ in range(50):
                await client.get("k")
        finally:
            loop.set_task_factory(None)
            loop.call_later = later  # type: ignore[method-assign]
        assert not made
        assert len(timers) <= 10  # one a link, each 20 ms at most
        assert client.counts().shared == 51
