"""A client that counts: streams over raw connections, with a time for each piece, at little cost."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import cast

from bench.gateway.arms import Arm

MARK = b'"content":"'
PATHS = {"openai": "/v1/chat/completions", "ollama": "/api/chat"}
# How an answer that breaks off is told in each API: its own clients raise an error from it.
BROKEN = {"openai": b'data: {"error":', "ollama": b'{"error":'}


@dataclass(slots=True)
class Heard:
    """One answer. Times by `time.perf_counter`; `gaps_s` lie between two pieces.

    `is_told`: it ended with an error in the API's own words. `body` is kept where it was asked for.
    """

    sent_s: float = 0.0
    first_s: float = 0.0
    ended_s: float = 0.0
    status: int = 0
    events: int = 0
    retry_after_s: float = 0.0
    is_whole: bool = False
    is_told: bool = False
    gaps_s: list[float] = field(default_factory=list)
    body: bytes = b""

    @property
    def ttft_s(self) -> float:
        """Until the first piece."""
        return self.first_s - self.sent_s

    @property
    def is_answer(self) -> bool:
        """Whether it is an answer, as a stream or in one piece, and not an error inside of one."""
        return self.status == 200 and not self.is_told and b'"error"' not in self.body

    @property
    def took_s(self) -> float:
        """Until the end."""
        return self.ended_s - self.sent_s


class Link(asyncio.Protocol):
    """A connection to a server, with one request on it at a time."""

    def __init__(self, api: str, *, keeps_body: bool) -> None:
        self._end = b"[DONE]" if api == "openai" else b'"done":true'
        self._broken = BROKEN[api]
        self._keeps_body = keeps_body
        self._last_s = 0.0
        self._length: int | None = None
        self._got = 0
        self.heard = Heard()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def send(self, data: bytes) -> None:
        """The next request."""
        self.heard, self._length, self._got = Heard(sent_s=time.perf_counter()), None, 0
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        heard, now_s = self.heard, time.perf_counter()
        if not heard.status:
            data = self._head(data)
        self._got += len(data)
        if self._keeps_body:
            heard.body += data
        if count := data.count(MARK):
            if heard.first_s:
                heard.gaps_s.append(now_s - self._last_s)
            else:
                heard.first_s = now_s
            self._last_s = now_s
            heard.events += count
        heard.is_whole = heard.is_whole or self._end in data
        heard.is_told = heard.is_told or self._broken in data
        if self._got >= self._length if self._length is not None else data.endswith(b"0\r\n\r\n"):
            self._over(now_s)

    def _head(self, data: bytes) -> bytes:
        head, _, rest = data.partition(b"\r\n\r\n")
        self.heard.status = int(head[9:12])
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"retry-after":
                self.heard.retry_after_s = float(value)
            elif name == b"content-length":
                self._length = int(value)
        return rest

    def _over(self, now_s: float) -> None:
        if not self.done.done():
            self.heard.ended_s = now_s
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._over(time.perf_counter())


def request(
    arm: Arm,
    *,
    api: str = "openai",
    words: int = 10,
    prompt: str = "hi",
    headers: str = "",
    model: str = "m",
    stream: bool = True,
) -> bytes:
    """The bytes of a chat."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "stream": stream,
    }
    body |= {"max_tokens": words} if api == "openai" else {"options": {"num_predict": words}}
    raw = json.dumps(body).encode()
    head = f"POST {PATHS[api]} HTTP/1.1\r\nhost: 127.0.0.1\r\n{arm.heads}{headers}"
    head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


async def link(arm: Arm, api: str = "openai", *, keeps_body: bool = False) -> Link:
    """A new connection."""
    _, made = await asyncio.get_running_loop().create_connection(
        lambda: Link(api, keeps_body=keeps_body), "127.0.0.1", arm.port
    )
    return made


async def ask(
    arm: Arm,
    *,
    api: str = "openai",
    leave_s: float | None = None,
    keeps_body: bool = False,
    on: Link | None = None,
    **asked: object,
) -> Heard:
    """One answer to its end, or (`leave_s`) until the client has had enough. `on`: an open connection."""
    used = on or await link(arm, api, keeps_body=keeps_body)
    used.send(request(arm, api=api, **asked))  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(leave_s):
            await used.done
    except TimeoutError:
        if leave_s is None:
            raise
    finally:
        if on is None:
            used.transport.abort()
    return used.heard


async def many(arm: Arm, count: int, **asked: object) -> list[Heard]:
    """`count` calls at once."""
    return list(await asyncio.gather(*(ask(arm, **asked) for _ in range(count))))  # type: ignore[arg-type]
