"""Case 3 of service.md: OPENAI_URL is an OpenAI-compatible server, also while it loads its model."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from anyio.to_thread import run_sync

import embedded
from embedded.outside import find_engine, find_openai
from tests.cases.engine_shapes import VLLM, LiteLLM, LMStudio, OllamaShape, OpenAIShape, running
from tests.servers.sentinel import eventually

pytestmark = pytest.mark.anyio
BACKEND = Path(__file__).parents[2] / "backend"


class Loading(OpenAIShape):
    """llama.cpp's server, which answers 503 to everything until its model is loaded."""

    is_loading = True

    def routes(self) -> dict[str, Callable[[], object]]:
        props = {"total_slots": 2, "default_generation_settings": {"n_ctx": 2048}, "model_alias": "tiny"}
        return {"/props": lambda: props, "/slots": list, "/health": lambda: {"status": "ok"}}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.is_loading:
            self.paths.append(request.path)
            error = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
            return web.json_response(error, status=503)
        return await super().handle(request)


@pytest.mark.parametrize("ending", ["", "/v1", "/v1/"])
@pytest.mark.parametrize(
    ("shape", "kind"), [(VLLM, "openai"), (LiteLLM, "openai"), (LMStudio, "openai"), (Loading, "openai")]
)
async def test_it_is_taken_at_its_word(shape: type[OpenAIShape], kind: str, ending: str, in_thread) -> None:
    async with running(shape()) as server:
        found = await in_thread(find_openai, server.url + ending)
        assert (found.kind, found.url, found.answers) == (kind, server.url, True)
        assert "Ollama" not in found.describe()
        server.is_loading = False
        if shape is Loading:
            assert (await in_thread(find_openai, server.url)).kind == "llamacpp"


async def test_nobody_there_is_not_taken_for_an_ollama(in_thread) -> None:
    found = await in_thread(find_openai, "http://me:s3cret@127.0.0.1:9")
    assert (found.kind, found.answers) == ("openai", False)
    assert "s3cret" not in found.describe()


async def test_an_address_with_a_key_is_asked_with_it(in_thread) -> None:
    server = OllamaShape("embed:latest", "llama3:latest", embedding=("embed:latest",))
    server.key = "k"
    async with running(server):
        found = await in_thread(find_engine, server.url.replace("//", "//:k@") + "/api")
        assert (found.kind, found.model) == ("ollama", "llama3:latest")


async def test_a_stack_names_it_and_starts_no_engine(in_thread) -> None:
    async with running(VLLM()) as server:
        stack = embedded.stack(
            engine_url=server.url + "/v1", engine_speaks_openai=True, postgres=False, redis=False
        )
        async with stack as ground:
            assert (ground.engine_kind, ground.engine_url, ground.engine) == ("openai", server.url, None)


@pytest.fixture
def in_thread():
    return run_sync


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("command", "shape"),
    [((), Loading), pytest.param((), LiteLLM, marks=pytest.mark.deep), (("serve",), VLLM)],
)
async def test_a_running_sentinel_answers(
    command: tuple[str, ...], shape: type[OpenAIShape], postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    """`make run` and `serve`, as processes: also an engine with a key, and one that is still loading."""
    port = free_port()
    async with running(shape()) as server:
        environment = {
            **{name: value for name, value in os.environ.items() if "OLLAMA" not in name},
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_url,
            "OPENAI_URL": server.url + "/v1",
            "OPENAI_API_KEY": "sk-secret",
            "PORT": str(port),
            "SENTINEL_DATA_DIR": str(tmp_path),
            "PYTHONPATH": str(BACKEND),
        }
        arguments = [sys.executable, "-m", "app", *command]
        process = await asyncio.create_subprocess_exec(
            *arguments, cwd=BACKEND, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

                async def lives() -> bool:
                    try:
                        return (await client.get("/health/live")).status_code == 200
                    except httpx.TransportError:
                        assert process.returncode is None, "it ended at once"
                        return False

                await eventually(lives, within_s=60, every_s=0.1)
                server.is_loading = False

                async def answers() -> bool:
                    body = {"user_id": "ana", "message": "hello there"}
                    reply = await client.post("/chat", json=body)
                    return reply.status_code == 200 and reply.json()["answer"].startswith("w0")

                await eventually(answers, within_s=30, every_s=0.2)
                pages = [(await client.get(path)).text for path in ("/metrics", "/buffers", "/health/ready")]
                assert not any("secret" in page for page in pages)
        finally:
            process.send_signal(signal.SIGINT)
            _, said = await asyncio.wait_for(process.communicate(), 30)
    assert "/api/version" not in server.paths
    assert b"sk-secret" not in said
