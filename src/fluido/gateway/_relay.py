"""Streaming reverse proxy: an engine's bytes to the client as they come, with two looks at them.

Looked at are the first token (so long nothing is sent, and another engine may still answer) and the end: a
stream that stops without one is told as broken, which no client would notice by itself.
"""

import asyncio
import time
from collections.abc import Callable

from fluido.errors import FluidoError
from fluido.gateway._http import Source
from fluido.gateway._outlet import Outlet, passed_on
from fluido.gateway.wire import Ended, StreamShape, Translator
from fluido.llm._errors import CallRejected, StreamBroken

# What an engine says before its first token (a role, comments) is held back up to here.
HOLD_BYTES = 64 * 1024
# An answer in one piece is complete before it is passed on, up to here.
WHOLE_BYTES = 4 * 1024 * 1024
# One that is translated has to be: ten thousand vectors of a thousand numbers are a hundred megabytes.
TRANSLATED_BYTES = 128 * 1024 * 1024
SLOW_READER_S = 30.0
TOO_LARGE = (
    f"the answer is over {TRANSLATED_BYTES >> 20} MiB and has to be translated in one piece: ask for less at "
    "once, or in the engine's own API"
)


class Throttle:
    """Slows an engine's connection down with its client. One that is slow for too long is left."""

    def __init__(self, source: Source, give_up: Callable[[], None], *, slow_s: float) -> None:
        self._source = source
        self._give_up = give_up
        self._slow_s = slow_s
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        """The client does not keep up."""
        self._source.pause()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._slow_s, self._give_up)

    def resume(self) -> None:
        """It does again."""
        self.close()
        self._source.resume()

    def close(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Relay:
    """One attempt: a reply of an engine, on its way through an `outlet`.

    `shape` looks at a stream in the engine's words, None for an answer in one piece. `media` is the type of
    what a `translator` makes of it, where that is another. After `done`: `status`
    and `headers` of the reply, `body` where it was not passed on (an error, or an answer in one piece),
    `ended` what a stream said at its end, `first_s` when its first token came. `heard`: for every piece.
    """

    def __init__(
        self,
        outlet: Outlet,
        shape: StreamShape | None,
        *,
        translator: Translator | None = None,
        media: bytes = b"",
        heard: Callable[[], None] | None = None,
        on_first: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._outlet = outlet
        self._shape = shape
        self._translator = translator
        self._media = media
        self._on_heard = heard
        self._on_first = on_first
        self._clock = clock
        self._pieces: list[bytes] = []
        self._size = 0
        self._streams = self._passes = False
        self.is_over = False
        """Whether the engine's side is over: nothing is left to be cancelled there."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.ended: Ended | None = None
        self.first_s: float | None = None

    @property
    def body(self) -> bytes:
        """What was held back."""
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    @property
    def is_stream(self) -> bool:
        """Whether the reply is the stream that was asked for."""
        return self._streams

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """See `Sink`."""
        self.status, self.headers = status, headers
        self._streams = status == 200 and self._shape is not None and not is_page(headers)

    def on_data(self, data: bytes) -> None:
        """See `Sink`."""
        if self._on_heard is not None:
            self._on_heard()
        if not self._streams:
            self._collect(data)
            return
        shape = self._shape
        assert shape is not None  # noqa: S101
        if self.first_s is None:
            self._before_first(data, shape)
        else:
            self._send(data)
        if (ended := shape.end(data)) is not None:
            self.ended = ended

    def _before_first(self, data: bytes, shape: StreamShape) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if not shape.is_first_token(data) and self._size <= HOLD_BYTES:
            return
        self.first_s = self._clock()
        self._pass_on()
        if self._on_first is not None:
            self._on_first()

    def _pass_on(self) -> None:
        """What was held back, and from now on all."""
        held, self._pieces = self.body, []
        outlet, translator = self._outlet, self._translator
        if translator is not None:
            held = translator.feed(held)
        outlet.speak(held, [(b"content-type", self._media)] if self._media else passed_on(self.headers))

    def _send(self, data: bytes) -> None:
        if self._translator is not None:
            data = self._translator.feed(data)
        self._outlet.write(data)

    def _collect(self, data: bytes) -> None:
        if self._passes:
            self._outlet.write(data)
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size <= WHOLE_BYTES:
            return
        if self.status != 200 or is_page(self.headers):
            self.fail(StreamBroken("the engine's reply has no end"))
            return
        if self._translator is not None:
            if self._size > TRANSLATED_BYTES:
                self.fail(CallRejected(TOO_LARGE, field="input"))
            return
        length = self.headers.get(b"content-length", b"")
        self._passes = True
        length_bytes = int(length) if length.isdigit() else None
        self._outlet.speak(self.body, passed_on(self.headers), length=length_bytes)
        self._pieces = []

    def on_end(self) -> None:
        """See `Sink`."""
        self.is_over = True
        if self._streams and self._shape is not None:
            self.ended = self.ended or self._shape.closed()
            if self.first_s is None and self.ended is not None and not self._shape.error:
                self.first_s = self._clock()  # an answer without a word
                self._pass_on()
            if self._translator is not None and self.first_s is not None and self.ended is not None:
                self._outlet.write(self._translator.end())
        if not self.done.done():
            self.done.set_result(None)

    def on_lost(self, error: StreamBroken) -> None:
        """See `Sink`."""
        self.is_over = True
        if self._streams and self._shape is not None:
            self.ended = self.ended or self._shape.closed()
        if self.ended is not None:
            self.on_end()  # it had said that it was done
        else:
            self.fail(error)

    def fail(self, error: FluidoError) -> None:
        """The attempt ends here."""
        if not self.done.done():
            self.done.set_exception(error)

    @property
    def was_passed_on(self) -> bool:
        """Whether an answer in one piece was too large to be held."""
        return self._passes


def is_page(headers: dict[bytes, bytes]) -> bool:
    """Whether a reply is a page for people: no engine answers a call with one, what stands before it does."""
    return headers.get(b"content-type", b"").lower().startswith((b"text/html", b"application/xhtml"))
