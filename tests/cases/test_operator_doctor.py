"""`doctor` after `make run`: it finds what was started, looks at every engine, says what it did not see."""

import asyncio
import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

import embedded
from app.__main__ import cli
from app.core.explained import names_of
from app.core.settings import Settings
from app.doctor.facts import Facts
from app.doctor.look import Addresses, EngineAddress, look
from embedded import addresses
from tests.cases.engine_shapes import OllamaShape, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        for name in names_of(field):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENTINEL_DATA_DIR", str(tmp_path))


def pasted(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=30)


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_the_commands_that_a_run_prints_work_as_pasted(
    postgres_server: embedded.Postgres, redis_server: embedded.Redis
) -> None:
    line = postgres_server.shell()
    assert postgres_server.password not in line
    done = pasted(f"{line} -tAc 'SELECT 7'")
    assert done.stdout.strip() == "7", done.stderr
    line = redis_server.shell()
    assert not redis_server.password or redis_server.password not in line
    program = re.search(r"(redis-cli|valkey-cli) .*$", line)
    assert program is not None
    assert program[0].endswith(f"-h 127.0.0.1 -p {redis_server.port}")
    if shutil.which(program[1]):
        done = pasted(f"{line} PING")
        assert done.stdout.strip() == "PONG", done.stderr
    # where there is no redis-cli: what it would get
    secret = line.replace(program[0], "printenv REDISCLI_AUTH")
    done = pasted(secret)
    assert done.stdout.strip() == redis_server.password


async def test_a_run_notes_where_its_servers_are_for_its_account_only(tmp_path: Path) -> None:
    with embedded.stack(data_dir=tmp_path, engine=None, postgres=False) as ground:
        ground.note(sentinel_url="http://127.0.0.1:8000")
        here = embedded.noted(tmp_path)
        assert here == {"redis_url": ground.redis_url, "sentinel_url": "http://127.0.0.1:8000"}
        place = tmp_path / addresses.NAME
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        # a run that was killed leaves the file, and its number goes to somebody else
        place.write_text(place.read_text().replace(f'"pid": {os.getpid()}', '"pid": 1'))
        assert embedded.noted(tmp_path) == {}
        place.write_text("[]")
        assert embedded.noted(tmp_path) == {}
        ground.note()
    assert embedded.noted(tmp_path) == {}


async def test_the_doctor_finds_what_a_run_started(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    async with running(OllamaShape("m:latest")) as server:
        url = nobody()
        addresses.note(
            tmp_path,
            {
                "database_url": postgres_url,
                "redis_url": redis_url,
                "engine_url": server.url,
                "sentinel_url": url,
            },
        )
        answer = await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", "--lang", "en"])
    assert answer.exit_code == 1  # the Sentinel of this test does not listen
    assert "Looked at: PostgreSQL, Redis, engine http://127.0.0.1:" in " ".join(answer.output.split())
    assert "Not looked at" not in answer.output
    assert f"no_answer · {url}" in answer.output


async def test_each_engine_of_a_list_is_looked_at_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = OllamaShape("m:latest")
    locked.key = "s3cret"
    locked.loaded = ("m:latest", 512)
    async with running(locked) as first, running(OllamaShape("n:latest")) as second:
        monkeypatch.setenv("OLLAMA_URL", f"{first.url}, {second.url}/api")
        monkeypatch.setenv("OLLAMA_API_KEY", "s3cret")
        monkeypatch.setenv("OPENAI_URL", nobody())
        answer = await asyncio.to_thread(CliRunner().invoke, cli, ["doctor", "--lang", "es"])
        text = " ".join(answer.output.split())
        assert re.search(rf"Se miró: motor {first.url}, motor {second.url}\.", text), text
        assert "nadie escucha en esa dirección" in text
        assert "s3cret" not in text
        facts = await look(Addresses(engines=(EngineAddress(first.url, "s3cret"),)))
        assert facts.engines[0].resident_tokens == 512


async def test_what_postgresql_and_redis_refuse_is_told_as_what_it_is(
    postgres_url: str, redis_url: str
) -> None:
    address = re.sub(r":[^:@/]*@", ":wrong@", postgres_url)
    other = postgres_url.rpartition("/")[0] + "/nowhere"

    async def kinds(**given: str) -> dict[str, str]:
        facts: Facts = await look(Addresses(**given))  # type: ignore[arg-type]
        return {where: reason.kind for where, reason in facts.failed.items()}

    assert await kinds(database_url=address) == {"postgresql": "password"}
    assert await kinds(database_url=other) == {"postgresql": "no_database"}
    where = nobody().removeprefix("http://")
    assert await kinds(database_url=f"postgresql+asyncpg://u:p@{where}/d") == {"postgresql": "refused"}
    assert await kinds(redis_url=f"redis://{where}") == {"redis": "refused"}
    assert await kinds(redis_url="redis://no.such.host.invalid:1") == {"redis": "unknown_host"}
    if "@" in redis_url:
        assert await kinds(redis_url=re.sub(r":[^:@/]*@", ":wrong@", redis_url)) == {"redis": "password"}
    with psycopg.connect(postgres_url.replace("+asyncpg", "")) as alive:
        assert alive.execute("SELECT 1").fetchone() == (1,)
