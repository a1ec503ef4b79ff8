"""Which mux serves which loop."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import ConnectionPool

from fluido.redis._adapter import forget_dead
from fluido.redis._mux import Mux
from fluido.redis._poolstate import PoolState
from fluido.redis._sharing import Sharing

# Of the process that forked this one. Their transports watch our parent's sockets with our parent's epoll:
# closing one here, or letting it be collected, would make the parent deaf.
_INHERITED: list[Mux] = []


class Muxes:
    """The muxes of one pool, one a running loop, and what they have in common.

    Loops in several threads may ask at the same time. A loop that is closed, and those of the process that
    forked this one, are forgotten when the next one asks.
    """

    def __init__(self, pool: ConnectionPool, clock: Callable[[], float] = time.perf_counter) -> None:
        self.state = PoolState(pool, clock)
        self._chosen = self._seen = False
        self._by_loop: dict[asyncio.AbstractEventLoop, Mux] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def choose(self, sharing: Sharing | None) -> None:
        """What a client of the pool asks for. Raises ValueError when it contradicts what is in use."""
        if sharing is None:
            return
        wanted = sharing.links_of_pool
        if not self._chosen and not self._by_loop:
            self._chosen, self.state.sharing = True, wanted
        elif wanted != self.state.sharing:
            raise ValueError(
                f"{sharing!r} contradicts {self.state.sharing!r}, as which this pool is shared already: "
                "give every client of a pool the same name, links, window, early, max_bytes, "
                "max_waiting and bulk_bytes, or a pool of its own"
            )

    def here(self) -> Mux:
        """The mux of the running loop."""
        loop = asyncio.get_running_loop()
        mux = self._by_loop.get(loop)
        if mux is None:
            with self._lock:
                self.state.several_loops = bool(self._seen)
                self._seen = True
                forked = self._pid != os.getpid()
                self._pid = os.getpid()
                dead = not forked and any(each.is_closed() for each in self._by_loop)
                for other in [each for each in self._by_loop if forked or each.is_closed()]:
                    mux = self._by_loop.pop(other)
                    if forked:
                        _INHERITED.append(mux)
                    else:
                        mux.forget()
                if dead:
                    forget_dead(self.state.pool)
                mux = self._by_loop[loop] = Mux(self.state, loop)
                self.state.loops_at_once = len(self._by_loop) > 1
        return mux

    async def aclose(self) -> None:
        """Close the links of this loop now; those of other loops close themselves."""
        loop = asyncio.get_running_loop()
        forget_dead(self.state.pool)
        for mux in tuple(self._by_loop.values()):
            if mux.loop is loop:
                await mux.aclose()
            else:
                mux.leave_pool()
                mux.retire_from_outside("closed in another loop")

    @staticmethod
    def abandon(muxes: "Muxes") -> None:
        """The client was dropped without being closed: close its links when their loops next turn."""
        if muxes._pid == os.getpid():
            for mux in tuple(muxes._by_loop.values()):
                mux.retire_from_outside("client dropped")


def muxes_of(pool: ConnectionPool) -> Muxes:
    """The one of a pool, whoever asks first: clients made for a request share the links of their pool."""
    attributes: dict[str, Any] = vars(pool)
    # setdefault: two threads that ask at the same time get the same
    muxes: Muxes = attributes.get("_fluido_muxes") or attributes.setdefault("_fluido_muxes", Muxes(pool))
    return muxes
