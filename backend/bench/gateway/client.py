"""A client that counts: streams over raw connections, with a time for each piece, at little cost."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import cast

MARK = b'"content":"'
PATHS = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}


@dataclass(slots=True)
class Heard:
    """One answer. Times by `time.perf_counter`; `gaps_s` lie between two pieces."""

    sent_s: float = 0.0
    first_s: float = 0.0
    ended_s: float = 0.0
    status: int = 0
    events: int = 0
    retry_after_s: float = 0.0
    is_whole: bool = False
    gaps_s: list[float] = field(default_factory=list)

    @property
    def ttft_s(self) -> float:
        """Until the first piece."""
        return self.first_s - self.sent_s


class _Reader(asyncio.Protocol):
    def __init__(self, end: bytes) -> None:
        self.heard = Heard()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._end = end
        self._last_s = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        heard, now_s = self.heard, time.perf_counter()
        if not heard.status:
            self._head(data)
        count = data.count(MARK)
        if count:
            if heard.first_s:
                heard.gaps_s.append(now_s - self._last_s)
            else:
                heard.first_s = now_s
            self._last_s = now_s
            heard.events += count
        if self._end in data:
            heard.is_whole = True
        if data.endswith(b"0\r\n\r\n") or heard.status != 200:
            heard.ended_s = now_s
            if not self.done.done():
                self.done.set_result(None)

    def _head(self, data: bytes) -> None:
        head = data.partition(b"\r\n\r\n")[0].lower()
        self.heard.status = int(head[9:12])
        for line in head.split(b"\r\n"):
            if line.startswith(b"retry-after:"):
                self.heard.retry_after_s = float(line.partition(b":")[2])

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if not self.done.done():
            self.heard.ended_s = time.perf_counter()
            self.done.set_result(None)


async def ask(
    port: int,
    *,
    api: str = "openai",
    words: int = 10,
    prompt: str = "hi",
    headers: str = "",
    model: str = "m",
    leave_s: float | None = None,
) -> Heard:
    """One stream to its end, or (`leave_s`) until the client has had enough."""
    loop = asyncio.get_running_loop()
    end = b"[DONE]" if api == "openai" else b'"done":true'
    _, reader = await loop.create_connection(lambda: _Reader(end), "127.0.0.1", port)
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
    }
    body |= {"max_tokens": words} if api == "openai" else {"options": {"num_predict": words}}
    raw = json.dumps(body).encode()
    reader.heard.sent_s = time.perf_counter()
    head = f"POST {PATHS[api]} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}content-type: application/json\r\n"
    reader.transport.write(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
    try:
        async with asyncio.timeout(leave_s):
            await reader.done
    except TimeoutError:
        if leave_s is None:
            raise
    finally:
        reader.transport.abort()
    return reader.heard
