"""Every finding of the doctor on the real thing, with the fault set up for it."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
import uvicorn
from typer.testing import CliRunner

import embedded
from app.__main__ import cli
from app.api import create_app
from app.core.settings import Settings
from app.doctor.facts import Facts
from app.doctor.findings import findings
from app.doctor.look import Addresses, EngineAddress, look
from app.doctor.texts import seen_of
from tests.app.scripted import ScriptedSystem
from tests.servers.sentinel import Running, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
NOTES = {"no_se_miro", "redis_viejo"}
SMALL_WINDOW = 256


def codes(facts: Facts, *, timed: bool = False) -> set[str]:
    """What was found. What is found by time counts only where it is the subject: a busy machine is slow."""
    found = {finding.code for finding in findings(facts)} - NOTES
    return found if timed else found - {"redis_lento"}


@pytest.fixture
async def sentinel(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> AsyncIterator[Running]:
    async with running(postgres_url, redis_url, synthetic_engine.url) as found:
        yield found


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.Redis]:
    """One that may be spoiled: its settings are put back after each test."""
    server = embedded.Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def spoiled(own_redis: embedded.Redis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_redis.url(), decode_responses=True) as link:
        names = ("maxmemory", "maxmemory-policy", "protected-mode", "requirepass", "bind")
        before = {name: link.config_get(name)[name] for name in names}
        yield link
        for name, value in before.items():
            link.config_set(name, value)


@asynccontextmanager
async def another(host: str = "127.0.0.1", date: str | None = None) -> AsyncIterator[str]:
    """A Sentinel on `host`, whose answers carry another date where one is given."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        config = uvicorn.Config(
            create_app(ScriptedSystem(), Settings()),
            log_level="critical",
            http="h11",
            date_header=date is None,
            headers=[("date", date)] if date else [],
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


async def test_a_sound_ground_has_no_finding(
    sentinel: Running, postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine
) -> None:
    url = str(sentinel.client.base_url)
    await sentinel.chat("one")
    facts = await look(Addresses((url,), postgres_url, redis_url, (EngineAddress(synthetic_engine.url),)))
    assert codes(facts) == set()
    assert facts.replicas[0].pool_ceiling == 50
    assert facts.replicas[0].is_keyless
    assert facts.postgres is not None
    assert (facts.postgres.max_connections, facts.postgres.live_conversations) == (200, 1)
    assert {clock.name for clock in facts.clocks} == {url.rstrip("/"), "PostgreSQL", "Redis"}
    assert facts.redis is not None
    is_old = tuple(int(part) for part in facts.redis.version.split(".")[:2]) < (7, 2)
    assert ("redis_viejo" in {finding.code for finding in findings(facts)}) is is_old


async def test_more_live_conversations_than_slots(
    sentinel: Running, postgres_url: str, synthetic_engine: embedded.Engine
) -> None:
    await asyncio.gather(*(sentinel.chat("one", user_id=f"u{number}") for number in range(5)))
    facts = await look(Addresses(database_url=postgres_url, engines=(EngineAddress(synthetic_engine.url),)))
    assert codes(facts) == {"pocas_ranuras"}


async def test_a_pool_that_postgresql_cannot_grant(
    tmp_path: Path, redis_url: str, synthetic_engine: embedded.Engine
) -> None:
    settings = {"max_connections": "40", "superuser_reserved_connections": "5"}
    server = embedded.Postgres(tmp_path, durable=False, settings=settings)
    server.start()
    try:
        async with running(server.url(), redis_url, synthetic_engine.url) as sentinel:
            url = str(sentinel.client.base_url)
            with psycopg.connect(server.url(driver=""), autocommit=True) as admin:
                admin.execute("CREATE ROLE other LOGIN PASSWORD 'x' SUPERUSER")
            place = server.url(driver="").partition("@")[2]
            with psycopg.connect(f"postgresql://other:x@{place}"):
                facts = await look(Addresses((url,), server.url()))
        assert codes(facts) == {"conexiones_de_mas"}
        found = next(each for each in findings(facts) if each.code == "conexiones_de_mas")
        assert "puede abrir 50 conexiones y caben 34" in seen_of("es", found)
        assert "may open 50 connections and there is room for 34" in seen_of("en", found)
    finally:
        server.stop()


async def test_what_redis_does_when_it_is_full(own_redis: embedded.Redis, spoiled: redis.Redis) -> None:
    address = Addresses(redis_url=own_redis.url())
    assert codes(await look(address)) == set()
    spoiled.config_set("maxmemory", 0)
    assert codes(await look(address)) == {"redis_sin_tope"}
    spoiled.config_set("maxmemory", "64mb")
    spoiled.config_set("maxmemory-policy", "noeviction")
    assert codes(await look(address)) == {"redis_no_desaloja"}


async def test_a_redis_that_had_to_evict(own_redis: embedded.Redis, spoiled: redis.Redis) -> None:
    address = Addresses(redis_url=own_redis.url())
    used = int(spoiled.info("memory")["used_memory"])
    spoiled.config_set("maxmemory-policy", "allkeys-lru")
    spoiled.config_set("maxmemory", used + (1 << 20))
    try:
        for number in range(64):
            spoiled.set(f"history:{number}", b"x" * (1 << 16))
        assert codes(await look(address)) == {"redis_desaloja"}
    finally:
        spoiled.flushall()
        spoiled.config_resetstat()


async def test_a_redis_that_stands_still(own_redis: embedded.Redis, spoiled: redis.Redis) -> None:
    looking = asyncio.create_task(look(Addresses(redis_url=own_redis.url())))
    for _ in range(3):
        await asyncio.sleep(0.05)
        await asyncio.to_thread(spoiled.execute_command, "CLIENT", "PAUSE", 150, "ALL")
    assert codes(await looking, timed=True) == {"redis_lento"}


async def test_a_redis_that_is_open_to_everybody(own_redis: embedded.Redis, spoiled: redis.Redis) -> None:
    spoiled.config_set("protected-mode", "no")
    spoiled.config_set("bind", "0.0.0.0")
    spoiled.config_set("requirepass", "")
    facts = await look(Addresses(redis_url=f"redis://127.0.0.1:{own_redis.port}"))
    spoiled.config_set("bind", "127.0.0.1")
    assert codes(facts) == {"redis_sin_clave"}


async def test_what_sentinel_cannot_use(postgres_url: str, synthetic_engine: embedded.Engine) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        async with running(postgres_url, dead, synthetic_engine.url) as sentinel:
            facts = await look(Addresses((str(sentinel.client.base_url),), redis_url=dead))
    assert codes(facts) == {"dependencia_ausente", "no_responde"}
    assert set(facts.replicas[0].away) == {"redis"}


async def test_an_open_port_without_a_key() -> None:
    async with another("0.0.0.0") as url:
        assert codes(await look(Addresses((url,)))) == {"puerto_sin_clave"}


async def test_clocks_of_replicas_that_differ() -> None:
    late = "Sun, 22 Nov 2020 10:00:00 GMT"
    async with another() as first, another(date=late) as second:
        assert codes(await look(Addresses((first,)))) == set()
        assert codes(await look(Addresses((first, second)))) == {"relojes_distintos"}


def test_the_command_sees_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "OLLAMA_URL", "OPENAI_URL"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        answer = CliRunner().invoke(cli, ["doctor", "--lang=es", "--replica", f"http://127.0.0.1:{port}"])
    assert answer.exit_code == 2
    assert "No se pudo mirar nada" in answer.output


async def test_the_exit_code_of_the_command(
    own_redis: embedded.Redis, spoiled: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", own_redis.url())
    async with another() as url:
        command = ["doctor", "--lang=es", "--replica", url]
        answer = await asyncio.to_thread(CliRunner().invoke, cli, command)
        # PostgreSQL and an engine were not looked at: not "all well"
        assert (answer.exit_code, "Todo bien" in answer.output) == (3, False)
        assert "No se miró: PostgreSQL, motor." in answer.output
        spoiled.config_set("maxmemory", 0)
        answer = await asyncio.to_thread(CliRunner().invoke, cli, command)
        assert (answer.exit_code, "redis_sin_tope" in answer.output) == (1, True)


# -- the real Ollama --


def generate(url: str, model: str, **options: int) -> None:
    """What a client of somebody else sends."""
    body = {"model": model, "prompt": "hello", "stream": False, "options": {"num_predict": 1, **options}}
    answer = httpx.post(f"{url}/api/generate", json=body, timeout=60)
    answer.raise_for_status()


@pytest.mark.ollama
async def test_a_client_that_makes_ollama_reload(ollama_engine: embedded.Ollama) -> None:
    url, model = ollama_engine.url, ollama_engine.model.name
    await asyncio.to_thread(generate, url, model)
    before = await look(Addresses(engines=(EngineAddress(url),)))
    assert codes(before) == {"paralelismo_desconocido"}
    other = before.engines[0].resident_tokens // 2
    await asyncio.to_thread(generate, url, model, num_ctx=other)
    facts = await look(Addresses(engines=(EngineAddress(url),)))
    assert codes(facts) == {"paralelismo_desconocido", "otra_ventana"}
    assert facts.engines[0].resident_tokens == other
    await asyncio.to_thread(generate, url, model)


@pytest.mark.ollama
async def test_a_loader_that_hangs(ollama_engine: embedded.Ollama) -> None:
    url, model = ollama_engine.url, ollama_engine.model.name
    await asyncio.to_thread(generate, url, model)
    runners = [
        child
        for child in psutil.process_iter(["cmdline"])
        if "runner" in (child.info["cmdline"] or ()) and "ollama" in (child.info["cmdline"] or [""])[0]
    ]
    assert runners
    for runner in runners:
        runner.send_signal(signal.SIGSTOP)
    try:
        began_s = time.perf_counter()
        facts = await look(Addresses(engines=(EngineAddress(url),)), token_wait_s=1.5)
        assert "carga_colgada" in codes(facts)
        assert time.perf_counter() - began_s < 5.0
    finally:
        for runner in runners:
            runner.send_signal(signal.SIGCONT)


@pytest.mark.ollama
async def test_reloads_that_somebody_else_causes(
    ollama_engine: embedded.Ollama, postgres_url: str, redis_url: str
) -> None:
    """Sentinel counts what its own answers had to wait for."""
    async with running(postgres_url, redis_url, ollama_engine.url, ollama=True) as sentinel:
        url = str(sentinel.client.base_url)
        await sentinel.chat("one")
        assert "recargas_ajenas" not in codes(await look(Addresses((url,))))
        # a smaller window is put up with where the prompt fits: this one does not
        await asyncio.to_thread(generate, ollama_engine.url, ollama_engine.model.name, num_ctx=SMALL_WINDOW)
        await sentinel.chat("two, and again " * SMALL_WINDOW, user_id="eva")
        facts = await look(Addresses((url,)))
    assert "recargas_ajenas" in codes(facts)
    assert facts.replicas[0].unplanned_loads == 1
