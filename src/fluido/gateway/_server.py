"""HTTP/1.1 server: handlers write bytes as they come, with back-pressure, and end when a client leaves.

Everything is bounded: heads, bodies, what all bodies together hold, how long a request may take to arrive,
and the connections: the one that is idle longest goes for a new one.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from fluido.gateway._connection import Connection, Handler, Limits

SWEEP_S = 5.0


class HttpServer:
    """Listens, and gives each request to `handler`. Inert until `open`."""

    def __init__(
        self, handler: Handler, *, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.clock = clock
        self.held_bytes = 0
        self.is_closing = False
        self.turned_away = 0
        """Idle connections that went for new ones."""
        self._connections: set[Connection] = set()
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def port(self) -> int:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the server is not open")
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises OSError where the port is taken."""
        self.loop = asyncio.get_running_loop()
        self.is_closing = False
        self._server = await self.loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)

    async def close(self, grace_s: float = 5.0) -> None:
        """Listen no more; what is being answered has `grace_s` to end. Idempotent."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in tuple(self._connections):
            connection.finish()
        tasks = {connection.task for connection in self._connections} - {None}
        if tasks:
            await asyncio.wait({task for task in tasks if task is not None}, timeout=grace_s)
        running = {connection.task for connection in self._connections}
        for connection in tuple(self._connections):
            connection.abort()
        left = {task for task in running if task is not None}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def joined(self, connection: Connection) -> None:
        """A client connected. Over the bound the one that is idle longest goes, else this one."""
        self._connections.add(connection)
        self._idle[connection] = None
        if len(self._connections) > self.limits.connections:
            self.turned_away += 1
            oldest, _ = self._idle.popitem(last=False)
            oldest.close()

    def left(self, connection: Connection) -> None:
        """A client left."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)

    def busy(self, connection: Connection) -> None:
        """A request of it has begun."""
        self._idle.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """It waits for its client's next request."""
        self._idle[connection] = None

    def _sweep(self) -> None:
        now_s = self.clock()
        for connection in tuple(self._connections):
            connection.sweep(now_s)
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
