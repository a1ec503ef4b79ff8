"""Asks a running Sentinel over HTTP, as a browser would: POST /chat/stream and its events."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp

from bench.load import FailedError, RefusedError, Reply
from bench.workloads import Question

_REFUSALS = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class HttpSender:
    """One arm's door. Remembers which conversation the server opened for which of ours."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._url = base_url.rstrip("/") + "/chat/stream"
        self.keeps_text = False
        self._conversations: dict[str, str] = {}
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; it opens as many connections as there are users."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def move(self, base_url: str) -> None:
        """The server is somewhere else now; it knows the same conversations."""
        self._url = base_url.rstrip("/") + "/chat/stream"

    def know(self, conversations: Mapping[str, str]) -> None:
        """Conversations that exist already: the server's ids by our names."""
        self._conversations |= conversations

    def knows(self, names: Iterable[str]) -> bool:
        """Whether all of these conversations exist already."""
        return all(name in self._conversations for name in names)

    async def __call__(self, question: Question) -> Reply:
        """One question to its last event. Raises `RefusedError` or `FailedError`."""
        assert self._session is not None, "open() first"  # noqa: S101 - a mistake of the benchmark itself
        body: dict[str, Any] = {
            "user_id": question.user_id,
            "message": question.text,
            "max_output_tokens": question.output_tokens,
        }
        if (known := self._conversations.get(question.conversation)) is not None:
            body["conversation_id"] = known
        try:
            async with self._session.post(self._url, json=body) as response:
                if response.status in _REFUSALS:
                    raise RefusedError(str(response.status))
                if response.status != HTTPStatus.OK:
                    raise FailedError(f"{response.status} {(await response.text())[:200]}")
                self._conversations[question.conversation] = response.headers["x-conversation-id"]
                return await self._read(response)
        except (aiohttp.ClientError, OSError) as error:
            raise FailedError(type(error).__name__) from error

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        first_at: float | None = None
        event = ""
        said: list[str] = []
        async for line in response.content:
            if line.startswith(b"event:"):
                event = line[6:].strip().decode()
                if event == "delta" and first_at is None:
                    first_at = self._clock()
            elif self.keeps_text and event == "delta" and line.startswith(b"data:"):
                said.append(str(json.loads(line[5:]).get("text", "")))
            elif line.startswith(b"data:") and event == "done":
                return _reply(json.loads(line[5:]), first_at, "".join(said))
            elif line.startswith(b"data:") and event == "error":
                error = json.loads(line[5:])
                if error.get("status") in _REFUSALS:
                    raise RefusedError(f"event {error['status']}")
                raise FailedError(str(error)[:200])
        raise FailedError("the stream ended without a last event")


def _reply(done: dict[str, Any], first_at: float | None, text: str) -> Reply:
    stages = done.get("stages_ms") or {}
    return Reply(
        first_at=first_at,
        output_tokens=done["output_tokens"],
        label="cached" if done["cached"] else "",
        database_s=stages["store"] / 1e3 if "store" in stages else None,
        cache_s=stages["cache"] / 1e3 if "cache" in stages else None,
        prompt_tokens=done["prompt_tokens"],
        cached_tokens=done["cached_tokens"],
        text=text,
    )
