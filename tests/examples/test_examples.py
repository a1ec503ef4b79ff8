"""Each file of examples/ does what its first line says, on real servers."""

import ast
import asyncio
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.servers


@pytest.fixture
def servers(postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("", "TEST_"):
        monkeypatch.setenv(f"{prefix}DATABASE_URL", postgres_url)
        monkeypatch.setenv(f"{prefix}REDIS_URL", redis_url)


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def plain(url: str) -> str:
    return url.replace("+asyncpg", "")


def test_every_example_is_short_and_tested() -> None:
    tested = {
        call.args[0].value
        for file in Path(__file__).parent.glob("test_*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "example"
        and isinstance(call.args[0], ast.Constant)
    }
    tested |= {"alembic_env", "pytest_fixtures"}  # run by the tools they are for
    tested |= {"chat_before"}  # what `chat_after` is compared with; its openai is no tool of ours
    files = {path.stem: path.read_text().splitlines() for path in EXAMPLES.glob("*.py")}
    assert files.keys() == tested
    assert {name for name, lines in files.items() if len(lines) > 56} == set()


@pytest.mark.anyio
async def test_fastapi_serves_with_both(servers: None) -> None:
    app = example("fastapi_app")["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        answers = await asyncio.gather(*(client.get("/hello/ana") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["visits"] for answer in answers) == list(range(1, 21))
    assert {answer.json()["name"] for answer in answers} == {"ANA"}


def test_alembic_upgrades_and_downgrades(servers: None, postgres_url: str, tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    shutil.copy(EXAMPLES / "alembic_env.py", tmp_path / "migrations" / "env.py")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    (versions / "0001_notes.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('notes', sa.Column('id', sa.Integer, primary_key=True))\n"
        "def downgrade():\n    op.drop_table('notes')\n"
    )

    def alembic(*words: str) -> str:
        command = [sys.executable, "-m", "alembic", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    def notes() -> bool:
        with psycopg.connect(plain(postgres_url)) as connection:
            found = connection.execute("SELECT to_regclass('notes') IS NOT NULL").fetchone()
        return found == (True,)

    alembic("upgrade", "head")
    assert notes()
    alembic("downgrade", "base")
    assert not notes()
    assert "CREATE TABLE notes" in alembic("upgrade", "head", "--sql")
    assert not notes()


def test_fixtures_give_each_test_a_clean_start(servers: None, postgres_url: str, tmp_path: Path) -> None:
    with psycopg.connect(plain(postgres_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (body text)")
    shutil.copy(EXAMPLES / "pytest_fixtures.py", tmp_path / "conftest.py")
    (tmp_path / "test_notes.py").write_text(
        "import pytest\nfrom sqlalchemy import text\npytestmark = pytest.mark.anyio\n"
        "@pytest.mark.parametrize('turn', range(3))\n"
        "async def test_alone(session, redis, turn):\n"
        "    await session.execute(text(\"INSERT INTO notes VALUES ('x')\"))\n"
        "    await session.commit()\n"
        "    assert await session.scalar(text('SELECT count(*) FROM notes')) == 1\n"
        "    assert await redis.incr('n') == 1\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    with psycopg.connect(plain(postgres_url)) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


def test_a_worker_runs_one_job_after_the_other(servers: None, redis_url: str) -> None:
    job = example("worker_jobs")["count_words"]
    assert [job("uno dos tres") for _ in range(3)] == [3, 3, 3]
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("words") == b"9"


@pytest.mark.anyio
async def test_tracing_sees_statements_and_commands(servers: None) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    try:
        await example("tracing")["main"](provider)
    finally:
        RedisInstrumentor().uninstrument()
        SQLAlchemyInstrumentor().uninstrument()
    names = [span.name for span in spans.get_finished_spans()]
    assert [name for name in names if name in {"SET", "GET"}] == ["SET", "GET"]
    assert any(name.startswith("SELECT") for name in names)
