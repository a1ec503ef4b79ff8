"""A path to a real server that is narrow, or goes silent, in the test's own loop."""

import asyncio
from collections import deque
from typing import Self

TURN_BYTES = 16 << 10


class NarrowPath:
    """A proxy on the loopback. What comes back shares so many bytes a second, a turn of 16 KiB each.

    `silence()` makes the connections that exist mute both ways without closing them; new ones work.
    """

    def __init__(self, port: int, bytes_per_s: float = float("inf")) -> None:
        self.port = port
        self.bytes_per_s = bytes_per_s
        self.opened = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[int] = set()
        self._muted: set[int] = set()
        self._turns: deque[asyncio.Future[None]] = deque()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0, limit=TURN_BYTES)
        self._keep(self._give_turns())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    @property
    def here(self) -> int:
        """The port to connect to."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def silence(self) -> None:
        """From now on nothing passes over the connections that exist."""
        self._muted |= self._open

    def _keep(self, coroutine: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        number = self.opened
        self._open.add(number)
        there, back = await asyncio.open_connection("127.0.0.1", self.port, limit=TURN_BYTES)
        self._writers += [writer, back]
        self._keep(self._pass_on(number, reader, back, narrow=False))
        self._keep(self._pass_on(number, there, writer, narrow=self.bytes_per_s != float("inf")))

    async def _pass_on(
        self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, narrow: bool
    ) -> None:
        try:
            while piece := await source.read(TURN_BYTES):
                if narrow:
                    turn = asyncio.get_running_loop().create_future()
                    turn.size = len(piece)  # type: ignore[attr-defined]
                    self._turns.append(turn)
                    await turn
                if number in self._muted:
                    continue
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        if number not in self._muted:
            sink.close()

    async def _give_turns(self) -> None:
        loop = asyncio.get_running_loop()
        free_s = loop.time()
        while True:
            if not self._turns:
                await asyncio.sleep(0.001)
                continue
            turn = self._turns.popleft()
            free_s = max(free_s, loop.time() - 0.005) + getattr(turn, "size", TURN_BYTES) / self.bytes_per_s
            if not turn.done():
                turn.set_result(None)
            if free_s > loop.time():
                await asyncio.sleep(free_s - loop.time())
