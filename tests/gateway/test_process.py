"""The process of the gateway: file descriptors for its connections, also where a shell allows few of them."""

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from socket import create_connection

import aiohttp
import pytest

from embedded.ports import free_port
from tests.gateway.scripted import ScriptedEngine
from tests.gateway.test_cli import PATIENCE_S, Started

FILES, CONNECTIONS = 256, 300


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [f"-Sn {FILES}", f"-n {FILES}"], ids=["soft", "hard"])
async def test_more_connections_than_files_keep_nobody_out(limit: str) -> None:
    port = free_port()
    async with ScriptedEngine() as engine:
        arguments = ["--engine", f"{engine.url},api=ollama", "--port", str(port)]
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'ulimit {limit} && exec "$@"', "sh"),
            *(sys.executable, "-m", "fluido", "gateway", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            url = await Started(process).until("Ctrl-C")
            with ExitStack() as stack:
                for _ in range(CONNECTIONS):
                    stack.enter_context(
                        await asyncio.to_thread(create_connection, ("127.0.0.1", port), PATIENCE_S)
                    )
                body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session,
                    session.post(f"{url}/api/chat", json=body) as reply,
                ):
                    assert (await reply.json())["message"]["content"] == "hello"
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def test_what_was_there_at_the_start_is_in_no_collection() -> None:
    code = "import gc; from fluido.gateway._process import freeze; freeze(); print(gc.get_freeze_count())"
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert int(said.stdout) > 1000
