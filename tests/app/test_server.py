"""A process that is told to stop: its listener closes last. Real signals, a real listener."""

import asyncio
import os
import signal
import socket

import httpx
import pytest
import uvicorn

from app.api import create_app
from app.core.drain import Drain
from app.core.settings import Settings
from app.server import DrainingServer
from tests.app.core.test_drain import until
from tests.app.scripted import ScriptedSystem

pytestmark = pytest.mark.anyio


class Held:
    """An assistant that answers when it is let go, behind a server that takes signals."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.reached = asyncio.Event()
        self.drain = Drain(grace_s=10.0)
        app = create_app(ScriptedSystem(script=(self.hold, "kept")), Settings(), drain=self.drain)
        self.server = DrainingServer(uvicorn.Config(app, log_level="warning", http="h11"), self.drain)

    async def hold(self) -> None:
        self.reached.set()
        await self.go.wait()


async def test_a_signal_drains_and_the_listener_closes_last() -> None:
    held = Held()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = asyncio.create_task(held.server.serve(sockets=[listener]))
        await until(lambda: held.server.started)
        async with httpx.AsyncClient(base_url=url) as client:
            asked = asyncio.create_task(client.post("/chat", json={"user_id": "a", "message": "hi"}))
            await held.reached.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: held.drain.is_refusing)
            # a new connection is still taken, to be told
            async with httpx.AsyncClient(base_url=url) as late:
                assert (await late.get("/health/ready")).json()["status"] == "leaving"
                refused = await late.post("/chat", json={"user_id": "a", "message": "hi"})
                assert refused.status_code == 503
            assert not serving.done()
            held.go.set()
            assert (await asked).json()["answer"] == "kept"
        await asyncio.wait_for(serving, 10.0)
        with pytest.raises(httpx.ConnectError):
            await httpx.AsyncClient(base_url=url).get("/health/live")
