"""People who talk through faults: they come when the trace says, and ask again until they are answered.

Every message has an Idempotency-Key, and a repetition carries the same one, as a careful client does.
"""

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.faults.ledger import Acknowledged

AGAIN_S = 0.25
PATIENCE_S = 8.0
"""The deadline that a request carries."""
ANSWER_S = 12.0
"""Beyond the deadline, because it is for the first token only."""
GIVE_UP_S = 120.0
"""A message that is not answered by then never will be: a busy machine alone does not take so long."""
OUTPUT_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Try:
    """One request: when it was sent, how long it took, and what came of it (`""` is an answer)."""

    at_s: float
    took_s: float
    error: str


@dataclass(slots=True)
class Talk:
    """One conversation; the server's id is known after the first answer."""

    user: str
    conversation: str | None = None
    is_busy: bool = False


@dataclass(slots=True)
class Notes:
    """Everything that the people wrote down."""

    tries: list[Try] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    """Answers whose pieces do not add up to what `done` says."""


class RequestFailed(Exception):
    """The request was not answered; the text is the code that the client saw."""


class People:
    """Sends messages to `url`; `notes` grows. `open` and `close` are its connection pool's."""

    def __init__(
        self,
        url: str,
        *,
        seed: int,
        patience_s: float = PATIENCE_S,
        give_up_s: float = GIVE_UP_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.notes = Notes()
        self._url = url
        self._random = random.Random(seed)
        self._clock = clock
        self._give_up_s = give_up_s
        self._patience_s = patience_s
        self._talks: list[Talk] = []
        self._count = 0
        self._origin_s = clock()
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._patience_s + ANSWER_S, sock_connect=2.0)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def now_s(self) -> float:
        """Seconds since these people began."""
        return self._clock() - self._origin_s

    async def crew(self, size: int, duration_s: float) -> float:
        """Answered messages a second when `size` people ask without a pause."""
        ends_s = self._clock() + duration_s
        before = len(self.notes.acknowledged)

        async def work() -> None:
            while self._clock() < ends_s:
                await self.say(self._talk())

        await asyncio.gather(*(work() for _ in range(size)))
        return (len(self.notes.acknowledged) - before) / duration_s

    async def come(self, offsets_s: Sequence[float]) -> None:
        """One message at each offset from now, whether or not the ones before are answered."""
        began_s = self._clock()
        async with asyncio.TaskGroup() as group:
            for offset_s in offsets_s:
                await asyncio.sleep(max(0.0, began_s + offset_s - self._clock()))
                group.create_task(self.say(self._talk()))

    def _talk(self) -> Talk:
        """A conversation that waits for nobody: one of the last in most cases, else a new one."""
        free = [talk for talk in self._talks[-40:] if not talk.is_busy]
        if free and self._random.random() < 0.8:
            talk = self._random.choice(free)
        else:
            talk = Talk(f"user-{len(self._talks)}")
            self._talks.append(talk)
        talk.is_busy = True
        return talk

    async def say(self, talk: Talk) -> None:
        """Ask until answered or until nobody would wait any longer."""
        self._count += 1
        text = f"message {self._count} of {talk.user}"
        key = uuid.UUID(int=self._random.getrandbits(128)).hex
        self.notes.asked.append(text)
        until_s = self._clock() + self._give_up_s
        while True:
            began_s = self._clock()
            error = ""
            try:
                await self._ask(talk, text, key)
            except RequestFailed as failure:
                error = str(failure)
            except (aiohttp.ClientError, OSError, TimeoutError) as failure:
                error = type(failure).__name__
            self.notes.tries.append(Try(began_s - self._origin_s, self._clock() - began_s, error))
            if not error:
                talk.is_busy = False
                return
            if self._clock() > until_s:
                # The conversation stays busy: what became of this message is not known.
                self.notes.given_up.append(text)
                return
            await asyncio.sleep(AGAIN_S)

    async def _ask(self, talk: Talk, text: str, key: str) -> None:
        assert self._session is not None, "open() first"  # noqa: S101 - a mistake of the suite itself
        body: dict[str, Any] = {
            "user_id": talk.user,
            "message": text,
            "max_output_tokens": OUTPUT_TOKENS,
            "deadline_s": self._patience_s,
        }
        if talk.conversation is not None:
            body["conversation_id"] = talk.conversation
        headers = {"Idempotency-Key": key}
        async with self._session.post(f"{self._url}/chat/stream", json=body, headers=headers) as reply:
            if reply.status != 200:
                raise RequestFailed(await _code(reply))
            await self._read(reply, talk, text)

    async def _read(self, reply: aiohttp.ClientResponse, talk: Talk, text: str) -> None:
        event, pieces = "", []
        async for line in reply.content:
            if line.startswith(b"event:"):
                event = line[6:].strip().decode()
            elif line.startswith(b"data:"):
                data = json.loads(line[5:])
                if event == "delta":
                    pieces.append(data["text"])
                elif event == "error":
                    raise RequestFailed(f"event {data['error']['code']}")
                elif event == "done":
                    talk.conversation = data["conversation_id"]
                    self.notes.acknowledged.append(
                        Acknowledged(data["conversation_id"], text, data["answer"])
                    )
                    if "".join(pieces) != data["answer"]:
                        self.notes.torn.append(text)
                    return
        raise RequestFailed("stream without an end")


async def _code(reply: aiohttp.ClientResponse) -> str:
    try:
        return f"{reply.status} {(await reply.json())['error']['code']}"
    except (ValueError, KeyError, aiohttp.ClientError):
        return f"{reply.status} by the balancer"
