"""A headless Chromium, told what to do by its own debugging protocol; nothing to install beside it."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    # A name in a local network: pages of it are no secure context, as over plain HTTP from another machine.
    "--host-resolver-rules=MAP lanbox 127.0.0.1",
)
START_S = 20.0


def found() -> str | None:
    """The browser on this machine, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, session: aiohttp.ClientSession, port: int
    ) -> None:
        self._socket = socket
        self._session = session
        self._port = port
        self._serial = itertools.count(1)
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that come meanwhile are looked through for errors of the page."""
        number = next(self._serial)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "?"))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["source"] == "security":
            self.complaints.append(params["entry"]["text"])

    async def see(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = 30.0) -> Any:
        """Wait until the expression is truthy, and return it."""
        async with asyncio.timeout(within_s):
            while not (value := await self.see(expression)):  # noqa: ASYNC110 - a page has no event for it
                await asyncio.sleep(0.05)
            return value

    async def open(self, url: str) -> None:
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def size(self, width: int, height: int, *, mobile: bool = False, dark: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def press(self, key: str, *, ctrl: bool = False, shift: bool = False) -> None:
        """Press a key where the focus is."""
        keys = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}
        code, text = keys[key] if key in keys else (ord(key.upper()), key)
        values = {
            "key": key,
            "windowsVirtualKeyCode": code,
            "modifiers": 2 * ctrl + 8 * shift,
            **({"text": text} if text and not ctrl else {}),
        }
        await self.call("Input.dispatchKeyEvent", type="keyDown", **values)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    async def offline(self, is_offline: bool) -> None:
        await self.call("Network.enable")
        await self.call(
            "Network.emulateNetworkConditions",
            offline=is_offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    @asynccontextmanager
    async def tab(self, url: str) -> AsyncIterator["Page"]:
        """Another tab of the same person."""
        async with self._session.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            target = await answer.json()
        async with self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket, self._session, self._port)
            await page.open(url)
            yield page
            await page.call("Page.close")

    async def picture(self) -> bytes:
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def browsing(binary: str) -> AsyncIterator[Page]:
    """Start a browser with one empty tab; it is gone afterwards, with what it wrote."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        command = [binary, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(  # noqa: ASYNC220 - it starts in some milliseconds
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = await _port(Path(folder) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    tabs = await answer.json()
                url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    yield Page(socket, session, port)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 10)


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_S):
        while not (file.exists() and (lines := file.read_text().split())):  # noqa: ASYNC110, ASYNC240 - a line in a file that the browser writes
            await asyncio.sleep(0.05)
        return int(lines[0])
