"""The doctor: what hurts in engines and in clients, and what is seen of this machine's processes."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from fluido.gateway import _local as local
from fluido.gateway._config import EngineUrl
from fluido.gateway._discovery import Directory, Engine
from fluido.gateway._doctor import Facts, Severity, facts, of_clients, of_engine
from fluido.gateway._probe import Model, Reading
from tests.cases.engine_shapes import OllamaShape, running

pytestmark = pytest.mark.anyio
here = pytest.mark.skipif(sys.platform != "linux", reason="processes are seen on Linux only")


def engine(window: int = 4096) -> Engine:
    reading = Reading("ollama", "0.20.0", {"m:latest": Model("m:latest")}, {"m:latest": window})
    return Engine("http://127.0.0.1:11434", "here", "ollama", {}, reading, "")


def test_nothing_hurts_in_a_good_engine() -> None:
    assert of_engine(Facts(engine(32768), {"m:latest": 40960}, {}, 4)) == []


def test_what_hurts_in_an_engine_is_named_with_its_mend() -> None:
    found = of_engine(Facts(engine(), {"m:latest": 40960}, {"m:latest": 8192}, 1, ("python3",)))
    said = "\n".join(f"{each.says} {each.mend}" for each in found)
    assert "OLLAMA_NUM_PARALLEL 1" in said
    assert "m:latest is loaded with a window of 4096 tokens and was made for 40960" in said
    assert "OLLAMA_CONTEXT_LENGTH=32768" in said
    assert "python3 asks here directly, past the queue" in said
    assert "its Modelfile says 8192" in said
    assert all(each.mend.endswith(".") for each in found)


def test_an_engine_that_is_away_or_empty_is_serious() -> None:
    away = engine()
    away.error = "http://127.0.0.1:11434 does not answer"
    empty = Engine("http://127.0.0.1:11434", "here", "ollama", {}, Reading("ollama"), "")
    for each in (away, empty):
        (finding,) = of_engine(Facts(each))
        assert finding.severity is Severity.SERIOUS
    assert "`ollama pull NAME`" in of_engine(Facts(empty))[0].mend


def test_clients_are_told_by_name() -> None:
    state = {
        "differing": [
            {
                "client": "Home Assistant",
                "model": "m",
                "option": "num_ctx",
                "asked": 8192,
                "kept": 32768,
                "count": 9,
            }
        ],
        "rows": [
            {"client": "aider", "model": "m", "requests": 3, "lost_tokens": 500},
            {"client": "Continue", "model": "m", "requests": 100, "left": 80},
            {"client": "n8n", "model": "m", "requests": 100, "refused": 60},
            {"client": "quiet", "model": "m", "requests": 100},
        ],
    }
    says = [finding.says for finding in of_clients(state)]
    assert says[0] == "Home Assistant sends num_ctx 8192, the model m runs with 32768 (9 times)."
    assert says[1] == "aider lost 500 tokens of its prompts to m: they did not fit the window."
    assert says[2].startswith("Continue leaves more than half of its 100 requests")
    assert says[3] == "60 of 100 requests of n8n to m were refused."
    assert len(says) == 4


@pytest.mark.parametrize("state", [{}, {"rows": 5, "differing": None}, {"rows": [None, 7, {}]}])
def test_a_state_that_is_none_finds_nothing(state: dict[str, object]) -> None:
    assert of_clients(state) == []


@here
async def test_another_process_that_asks_an_engine_is_seen() -> None:
    shape = OllamaShape()
    async with running(shape), Directory([EngineUrl.parse(shape.url)]) as directory:
        port = int(shape.url.rpartition(":")[2])
        (found,) = directory.engines
        assert (await facts(directory, found)).strangers == ()
        script = f"import socket, sys; s = socket.create_connection(('127.0.0.1', {port})); sys.stdin.read()"
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(30):
                while not (strangers := (await facts(directory, found)).strangers):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert strangers[0].startswith("python")
            assert (await facts(directory, found, ours=[stranger.pid])).strangers == ()
        finally:
            stranger.kill()
            await stranger.wait()


@here
def test_who_listens_and_how_he_was_started() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert local.listener(server.getsockname()[1]) == os.getpid()
    assert (local.environment(os.getpid()) or {}).keys() >= {"PATH"}
    assert local.environment(0) is None


def test_a_system_that_does_not_tell_is_no_error(tmp_path: Path) -> None:
    nowhere = tmp_path / "proc"
    assert local.links(nowhere) == []
    assert local.connected(80, proc=nowhere) == ()
    assert local.listener(80, nowhere) == 0
    assert local.environment(1, nowhere) is None
