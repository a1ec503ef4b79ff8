"""Plain reverse proxy: a request that the queue has nothing to do with, as bytes in both directions."""

import asyncio
from collections.abc import Iterable

from fluido.errors import EngineUnavailable
from fluido.gateway._http import Answer
from fluido.gateway._outlet import passed_on
from fluido.gateway._relay import SLOW_READER_S, Throttle
from fluido.gateway._upstream import EnginePool
from fluido.llm._errors import StreamBroken


class Through:
    """A reply of an engine that goes to the client as it comes."""

    def __init__(self, answer: Answer, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._answer = answer
        self._headers = headers
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over = False

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """See `Sink`."""
        length = headers.get(b"content-length", b"")
        self._answer.start(
            status,
            [*passed_on(headers), *self._headers],
            length=int(length) if length.isdigit() else None,
        )

    def on_data(self, data: bytes) -> None:
        """See `Sink`."""
        self._answer.write(data)

    def on_end(self) -> None:
        """See `Sink`."""
        self.is_over = True
        self._answer.end()
        self.fail(None)

    def on_lost(self, error: StreamBroken) -> None:
        """See `Sink`."""
        self.is_over = True
        self.fail(error)

    def fail(self, error: StreamBroken | None) -> None:
        """It ends here."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


async def pass_through(
    pool: EnginePool,
    answer: Answer,
    method: str,
    path: str,
    *,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    told: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a request on and its reply back. `told` are headers of ours.

    Raises EngineUnavailable while nothing of a reply has come; later the client's connection breaks with it.
    """
    through = Through(answer, told)
    connection = await pool.ask(method, path, headers, body, through)
    throttle = Throttle(
        connection, lambda: through.fail(StreamBroken("nobody reads this answer")), slow_s=SLOW_READER_S
    )
    try:
        answer.source = throttle
        if answer.is_paused:
            throttle.pause()
        await through.done
    except EngineUnavailable:
        answer.abort()
    finally:
        answer.source = None
        throttle.close()
        if not through.is_over:
            connection.abort()
