"""How fast a stub engine answers, and what it counts meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

WORD = " word"
CREATED = "2026-01-01T00:00:00Z"
# The clock of a wheel: streams that speak in one moment are written to one after the other.
TICK_S = 0.002


class Pace:
    """`slots` calls at once (0: all), the prompt in `first_s`, then a word every `gap_s`.

    More than `knee` calls at once (0: no number is too many) make each of them slower, so that together they
    get no more done.
    """

    def __init__(self, api: str, *, slots: int, first_s: float, gap_s: float, words: int, knee: int) -> None:
        self.api = api
        self.slots = slots
        self.first_s = first_s
        self.gap_s = gap_s
        self.words = words
        self.knee = knee
        self.inflight = self.peak = self.left = self.served = 0
        self.queued_s = self.busy_s = 0.0
        self._permits = asyncio.Semaphore(slots or 1_000_000)
        self.word = chunk(_sse({"content": WORD}, None) if api == "openai" else _line(WORD))

    @property
    def gap_now_s(self) -> float:
        """Between two words, with so many at once."""
        return self.gap_s * max(1.0, self.inflight / self.knee) if self.knee else self.gap_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """A slot for one call, and the seconds that it waited for it."""
        came_s = time.perf_counter()
        async with self._permits:
            began_s = time.perf_counter()
            self.queued_s += began_s - came_s
            self.inflight += 1
            self.peak = max(self.peak, self.inflight)
            try:
                yield began_s - came_s
            finally:
                self.inflight -= 1
                self.busy_s += time.perf_counter() - began_s

    def figures(self) -> dict[str, float]:
        """What was counted so far: seconds that calls waited inside, and were computed."""
        return {
            "inflight": self.inflight,
            "peak": self.peak,
            "left": self.left,
            "served": self.served,
            "queued_s": round(self.queued_s, 3),
            "busy_s": round(self.busy_s, 3),
        }

    def end(self, words: int, waited_s: float) -> bytes:
        """The last bytes of a stream."""
        if self.api == "ollama":
            return chunk(_line("", **self._counts(words, waited_s))) + b"0\r\n\r\n"
        last = _sse({}, "stop") + _sse({}, None, _usage(words)) + b"data: [DONE]\n\n"
        return chunk(last) + b"0\r\n\r\n"

    def whole(self, words: int, waited_s: float) -> dict[str, Any]:
        """An answer in one piece."""
        said = {"role": "assistant", "content": WORD * words}
        if self.api == "ollama":
            return {
                "model": "m:latest",
                "created_at": CREATED,
                "message": said,
                **self._counts(words, waited_s),
            }
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
        return {**head, "choices": [choice], "usage": _usage(words)}

    def _counts(self, words: int, waited_s: float) -> dict[str, Any]:
        """As Ollama counts: the whole time holds what a call waited inside."""
        prompt_s, words_s = self.first_s, words * self.gap_s
        return {
            "done": True,
            "done_reason": "stop",
            "total_duration": int((waited_s + prompt_s + words_s) * 1e9) + 2,
            "prompt_eval_count": 10,
            "prompt_eval_duration": int(prompt_s * 1e9) + 1,
            "eval_count": words,
            "eval_duration": int(words_s * 1e9) + 1,
        }


class Wheel:
    """Speaks for every stream: one timer for all of them, so that the stub itself costs little.

    A stream is put on the spoke that was written to last; each spoke's turn comes once in `gap_s`.
    """

    def __init__(self, gap_s: float, word: bytes) -> None:
        self._word = word
        self._spokes: list[dict[object, _Spoken]] = [{} for _ in range(max(1, round(gap_s / TICK_S)))]
        self._step_s = gap_s / len(self._spokes)
        self._at = 0
        self._next_s = 0.0
        self._loop: asyncio.AbstractEventLoop

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on."""
        self._loop, self._next_s = loop, time.perf_counter()
        self._tick()

    async def turn(self, write: Callable[[bytes], None], words: int) -> None:
        """Until `words` words were written; a caller who is cancelled is spoken to no more."""
        spoke, name = self._spokes[self._at - 1], object()
        spoken = spoke[name] = _Spoken(write, words, self._loop.create_future())
        try:
            await spoken.done
        finally:
            spoke.pop(name, None)

    def _tick(self) -> None:
        now_s = time.perf_counter()
        while self._next_s <= now_s:
            for spoken in tuple(self._spokes[self._at].values()):
                if spoken.left > 0:
                    spoken.left -= 1
                    spoken.write(self._word)
                elif not spoken.done.done():
                    spoken.done.set_result(None)
            self._at = (self._at + 1) % len(self._spokes)
            self._next_s += self._step_s
        self._loop.call_later(max(0.0, self._next_s - time.perf_counter()), self._tick)


class _Spoken:
    __slots__ = ("done", "left", "write")

    def __init__(self, write: Callable[[bytes], None], left: int, done: "asyncio.Future[None]") -> None:
        self.write = write
        self.left = left
        self.done = done


def chunk(data: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(words: int) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words}


def _json(value: object) -> bytes:
    """Without blanks, as engines write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def _sse(delta: dict[str, str], finish: str | None, usage: dict[str, int] | None = None) -> bytes:
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}] if usage is None else []
    if usage is not None:
        body["usage"] = usage
    return b"data: " + _json(body) + b"\n\n"


def _line(content: str, **end: object) -> bytes:
    said = {"role": "assistant", "content": content}
    body = {"model": "m:latest", "created_at": CREATED, "message": said, "done": bool(end)}
    return _json({**body, **end}) + b"\n"
