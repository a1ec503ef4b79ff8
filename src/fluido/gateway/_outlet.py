"""The client's side of a call: one head, heartbeats while it waits, every end in the client's own shape."""

import asyncio
from collections.abc import Iterable

from fluido.gateway._http import Answer, Source
from fluido.gateway.wire import StreamShape

Headers = Iterable[tuple[bytes, bytes]]

# What belongs to one connection, and what the bytes that we send make untrue.
NOT_PASSED_ON = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"trailer",
        b"upgrade", b"content-length", b"content-encoding", b"date", b"server", b"via", b"vary",
        b"access-control-allow-origin",
        b"access-control-allow-methods", b"access-control-allow-headers", b"access-control-allow-credentials",
        b"access-control-expose-headers", b"access-control-max-age",
    }
)  # fmt: skip


def passed_on(headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers of an engine's reply that its client gets."""
    return [(name, value) for name, value in headers.items() if name not in NOT_PASSED_ON]


# A blank before a JSON value means nothing to any parser, also not to one that reads line by line.
BLANK = b" "
# Who waits for one piece gets no status of its own once a blank was sent: later than a stream, and before the
# first proxies give up (60 s).
PLAIN_BEATS = 3.0


class Outlet:
    """Where one call's bytes go. Engines may change behind it while `spoke` is False.

    `shape` is None for a call that is answered in one piece. A client that waits gets the head and a
    heartbeat every `heartbeat_s`, as far as the API has one: one that waits for one piece a blank before it,
    the first after `PLAIN_BEATS` of them, and none where its HTTP is too old to show that an answer was cut.
    """

    def __init__(self, answer: Answer, shape: StreamShape | None, *, heartbeat_s: float) -> None:
        self._answer = answer
        self._shape = shape
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        """What our own head says besides."""
        self.spoke = False
        """Whether something of an answer was sent: from then on no other engine can give it."""

    @property
    def started(self) -> bool:
        """Whether the head was sent."""
        return self._answer.started

    @property
    def is_paused(self) -> bool:
        """Whether the client reads too slowly at the moment."""
        return self._answer.is_paused

    def wait(self) -> None:
        """The call waits: heartbeats from now on, until it speaks."""
        if self._timer is None and not self.spoke:
            first = PLAIN_BEATS if self._shape is None else 1.0
            self._timer = self._loop.call_later(first * self._heartbeat_s, self._beat)

    def _beat(self) -> None:
        self._timer, shape, answer = None, self._shape, self._answer
        beat = shape.heartbeat() if shape is not None else BLANK if answer.shows_a_cut else None
        if beat is None or self.spoke:
            return
        if not answer.started:
            media = shape.content_type if shape is not None else b"application/json"
            answer.start(200, [(b"content-type", media), *self.headers])
        answer.write(beat)
        self._timer = self._loop.call_later(self._heartbeat_s, self._beat)

    def speak(self, data: bytes, headers: Headers, *, length: int | None = None) -> None:
        """The first bytes of the answer, after the reply's head unless a heartbeat has sent one."""
        self.spoke = True
        self.close()
        if self._answer.started:
            self._answer.write(data)
        else:
            self._answer.start(200, [*headers, *self.headers], length=length, first=data)

    def write(self, data: bytes) -> None:
        """More of it."""
        self._answer.write(data)

    def reads_from(self, source: Source | None) -> None:
        """Whom to slow down when the client is slow."""
        self._answer.source = source
        if source is not None and self._answer.is_paused:
            source.pause()

    def end(self) -> None:
        """It was all."""
        self.close()
        self._answer.end()

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece."""
        self.close()
        self.spoke = True
        if self._answer.started:
            self._answer.write(body)
            self._answer.end()
        else:
            self._answer.whole(status, [*headers, *self.headers], body)

    def broke(self, message: str, words: bytes = b"") -> None:
        """The answer cannot go on: told as an error where its shape has one, else the connection breaks.

        A reply whose length was promised, or that is one piece of JSON, is cut: nobody takes that for whole.
        `words` are for people who read what came before the cut.
        """
        self.close()
        if self._shape is not None:
            self._answer.write(self._shape.broken(message))
            self._answer.end()
        elif self.spoke:
            self._answer.abort()
        else:
            self._answer.cut(words)

    def close(self) -> None:
        """No more heartbeats. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
