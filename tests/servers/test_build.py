"""The composition root: what it builds, that it leaves the process alone, and that two of it keep apart."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.build import Sentinel, build
from app.core.settings import Settings
from fluido import Closed
from tests.app.serving import served
from tests.cases.service_engine import ScriptedEngine, serving
from tests.house import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


def settings(database_url: str, redis_url: str, engine_url: str) -> Settings:
    return Settings(
        database_url=database_url, redis_url=redis_url, openai_url=engine_url, ollama_url=None, model=None
    )


def admitted(sentinel: Sentinel) -> dict[str, int]:
    """Calls admitted by each kind of flow of one Sentinel."""
    stats: Any = sentinel.buffers.get_buffer_stats()
    return {kind: sum(flow["admitted"] for flow in each["flows"]) for kind, each in stats.items()}


async def test_two_in_one_process_are_told_apart(postgres_url: str, redis_url: str) -> None:
    before = dict(os.environ)
    async with serving(ScriptedEngine(["one"])) as first, serving(ScriptedEngine(["two"])) as second:
        one = build(settings(postgres_url, redis_url, first), namespace="one")
        two = build(settings(postgres_url, redis_url, second), namespace="two")
        async with served(two.app) as two_client:
            async with served(one.app) as one_client:
                body = {"user_id": "ana", "message": "hello"}
                answers = [
                    (await client.post("/chat", json=body)).json()["answer"]
                    for client in (one_client, two_client, two_client)
                ]
                assert answers == ["one", "two", "two"]
                assert (admitted(one)["llm_inference"], admitted(two)["llm_inference"]) == (1, 2)
                page = (await one_client.get("/metrics")).text
                assert re.search(
                    r'^fluido_admitted_total\{flow="[^"]*",kind="llm"\} 1\.0$', page, re.MULTILINE
                )
            assert (await two_client.post("/chat", json=body)).json()["answer"] == "two"
            assert admitted(two)["llm_inference"] == 3
            assert (await two_client.get("/health/ready")).status_code == 200
    assert dict(os.environ) == before


def test_the_module_for_servers_names_what_is_missing(tmp_path: Path) -> None:
    """`app.main` is the one module that builds at import, and says what it needs."""
    bare = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    bare["PYTHONPATH"] = os.pathsep.join(str(ROOT / each) for each in ("src", "backend"))
    code = "import app.build, app.server; print('inert'); import app.main"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=bare,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert ran.stdout == "inert\n"
    assert "DATABASE_URL is not set" in ran.stderr


async def test_one_part_that_does_not_close_keeps_no_other_open(postgres_url: str, redis_url: str) -> None:
    async with serving(ScriptedEngine()) as engine:
        built = build(settings(postgres_url, redis_url, engine))
        await built.system.open()
        async with built.db.get_session() as session:
            await session.execute(text("SELECT 1"))

        async def refuse() -> None:
            raise OSError("it does not close")

        built.system._retention.close = refuse  # type: ignore[method-assign]
        with pytest.raises(OSError, match="does not close"):
            await built.system.close()
        assert built.cache.client is None
        with pytest.raises(Closed):
            async with built.db.engine.connect():
                pass
