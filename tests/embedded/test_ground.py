"""The whole ground: up together, down together, repaired while it runs, gone when its starter is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

import embedded
from embedded import outside
from embedded.errors import GroundError
from embedded.ground import Stack

pytestmark = [pytest.mark.servers, pytest.mark.anyio]
SOURCE = Path(embedded.__file__).parents[1]


def pids(ground: Stack) -> list[int]:
    return [server.child.pid or 0 for server in ground.servers if server.child is not None]


def survivors(numbers: list[int], wait_s: float) -> list[psutil.Process]:
    alive: list[psutil.Process] = psutil.wait_procs(
        [psutil.Process(pid) for pid in numbers if psutil.pid_exists(pid)], timeout=wait_s
    )[1]
    return alive


async def test_everything_answers_and_nothing_is_left(open_folder: Path) -> None:
    async with embedded.stack(data_dir=open_folder, engine="synthetic", durable=False) as ground:
        running = pids(ground)
        assert len(running) == 3
        with psycopg.connect(ground.database_url.replace("+asyncpg", "")) as link:
            link.execute("CREATE TABLE kept (n int)")
        assert ground.redis_url.startswith("redis://:")
        assert (ground.engine_kind, ground.model) == ("llamacpp", "synthetic:1")
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{ground.engine_url}/health")).is_success
        lines = "\n".join(ground.describe())
        assert ground.postgres is not None
        assert ground.postgres.password not in lines
        assert "synthetic" in lines
        with pytest.raises(GroundError, match="in use by another run"):
            Stack(data_dir=open_folder).start()
    assert not survivors(running, 0.1)

    async with embedded.stack(data_dir=open_folder, engine=None, redis=False, durable=False) as again:
        with psycopg.connect(again.database_url.replace("+asyncpg", "")) as link:
            assert link.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with pytest.raises(GroundError, match="no engine"):
            _ = again.engine_url
    async with embedded.stack(
        data_dir=open_folder, engine=None, redis=False, durable=False, fresh=True
    ) as forgotten:
        with (
            psycopg.connect(forgotten.database_url.replace("+asyncpg", "")) as link,
            pytest.raises(psycopg.errors.UndefinedTable),
        ):
            link.execute("SELECT count(*) FROM kept")


async def test_services_from_outside_are_only_named() -> None:
    async with embedded.stack(
        database_url="postgresql+asyncpg://me:secret@db:5432/mine",
        redis_url="redis://cache:6379/0",
        engine_url="http://127.0.0.1:1",
        model="mine",
    ) as ground:
        assert ground.servers == []
        assert ground.describe() == [
            "PostgreSQL at postgresql+asyncpg://me:***@db:5432/mine (yours)",
            "Redis at redis://cache:6379/0 (yours)",
            "Ollama at http://127.0.0.1:1, which does not answer now",
        ]
        assert ground.model == "mine"
        place = ground.data.path
    assert not place.exists()


class Listening:
    """Stands for what `outside.ask` hears from an Ollama on its usual port."""

    def __init__(self, *models: str) -> None:
        self.models = [{"name": model} for model in models]

    def __call__(self, url: str, *, body: object = None) -> dict[str, object] | None:
        if body is not None or not url.startswith("http://127.0.0.1:11434/"):
            return None
        return {"version": "0.20.0"} if url.endswith("version") else {"models": self.models}


async def test_an_ollama_that_listens_is_used_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "ask", Listening("llama3:8b"))
    async with embedded.stack(postgres=False, redis=False, detect_ollama=True) as ground:
        assert (ground.engine_kind, ground.model, ground.servers) == ("ollama", "llama3:8b", [])
        assert ground.describe()[-1] == "Ollama at http://127.0.0.1:11434, model llama3:8b"

    said: list[str] = []
    monkeypatch.setattr(outside, "ask", Listening())
    async with embedded.stack(
        postgres=False, redis=False, engine="synthetic", detect_ollama=True, say=said.append
    ) as ground:
        assert ground.engine_kind == "llamacpp"
        assert "has no model yet" in said[0]


async def test_a_server_that_dies_is_started_again_on_its_port() -> None:
    said: list[str] = []
    async with embedded.stack(engine="synthetic", postgres=False, say=said.append) as ground:
        assert ground.engine is not None
        assert ground.engine.child is not None
        first, url = ground.engine.child, ground.engine_url
        first.signal(signal.SIGKILL)
        async with asyncio.timeout(20), httpx.AsyncClient() as client:
            while True:
                try:
                    if ground.engine.child is not first and (await client.get(f"{url}/health")).is_success:
                        break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)  # real processes: there is no clock to step
        assert said == ["The engine ended (exit code 137) and is started again."]

        # what was stopped on purpose stays stopped
        ground.engine.stop()
        watched = threading.Event()
        await asyncio.to_thread(watched.wait, 0.5)
        assert not ground.engine.running


@pytest.mark.parametrize("after_s", [0.0, 0.3])
async def test_a_cancelled_start_leaves_nothing(after_s: float, open_folder: Path) -> None:
    ground = Stack(data_dir=open_folder, engine="synthetic", durable=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after_s), ground:
            await asyncio.get_running_loop().create_future()
    assert not [server for server in ground.servers if server.running]
    assert not survivors(pids(ground), 0.1)
    Stack(data_dir=open_folder, engine=None, postgres=False, redis=False).start().stop()


async def test_one_server_that_cannot_start_stops_the_others(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: embedded.Redis) -> list[str]:
        return ["no-such-option yes"]

    monkeypatch.setattr(embedded.Redis, "configuration", broken)
    ground = Stack(data_dir=open_folder, engine="synthetic", durable=False)
    with pytest.raises(GroundError, match=r"Redis ended while it started(?s:.*)no-such-option"):
        await ground.__aenter__()
    assert not [server for server in ground.servers if server.running]


def shell(folder: Path, engine: str = "none") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "embedded", "--data-dir", str(folder), "--engine", engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def until_ready(process: "subprocess.Popen[str]") -> list[str]:
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("ready"):
            return lines
    raise AssertionError(process.stderr.read() if process.stderr else lines)


def noted(folder: Path) -> list[int]:
    runs = (folder / "run").glob("*.json")
    return [pid for run in runs for pid, _ in json.loads(run.read_text())]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_way_of_ending_the_command_leaves_a_server(open_folder: Path, number: signal.Signals) -> None:
    with shell(open_folder, "synthetic") as process:
        until_ready(process)
        running = noted(open_folder)
        assert len(running) == 6  # a guardian and a server, three times
        process.send_signal(number)
        assert not survivors(running, 10.0)
        assert process.wait(5) == (-number if number == signal.SIGKILL else 0)
    if number != signal.SIGKILL:
        return
    # the next start repairs what a kill left
    with shell(open_folder) as process:
        lines = until_ready(process)
        assert any(line.startswith("DATABASE_URL=postgresql+asyncpg://") for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_two_runs_in_two_folders_and_a_third_that_is_refused(open_folder: Path) -> None:
    with shell(open_folder / "one") as one, shell(open_folder / "two") as two:
        until_ready(one)
        until_ready(two)
        with shell(open_folder / "one") as third:
            _, errors = third.communicate(timeout=20)
            assert third.returncode == 1
            assert errors.count("\n") == 1
            assert "in use by another run" in errors
        for process in (one, two):
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
