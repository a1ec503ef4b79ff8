"""Connection multiplexing: the shared connections of a pool, opened for all, replaced when they fail."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError

from fluido._metrics import FlowStats
from fluido.flow._label import current_label
from fluido.flow._waiting import ByTurns, Waiter, WaitQueue
from fluido.redis._adapter import Unfit, close_idle, take
from fluido.redis._bulk import only_reads_packed
from fluido.redis._link import Link, Room
from fluido.redis._poolstate import PoolState, stats_of
from fluido.redis._watch import Elsewhere, copy_of

ONE = Room(1, 0)
SECOND_LINK_PAUSE_S = 1.0
SPLIT_PAUSE_S = 1.0  # a machine that is too busy shows the same signs as a server that pauses
MOST_DRAINING = 8  # links that are replaced while a large reply is on its way over them
INTERRUPTED = "the shared connection was closed while it was opened"
_log = logging.getLogger("fluido.redis")


class Split:
    """While `stalled` waits for the server to take a write: the link for commands that only read."""

    def __init__(self, stalled: Link, connect: Coroutine[Any, Any, Link]) -> None:
        self.stalled = stalled
        self.opening = stalled.loop.create_task(connect)
        self.opening.add_done_callback(self._opened)
        self._closed = False

    async def link(self, commands: int) -> Link | None:
        """The link, if there is one and it has room; else None."""
        await asyncio.wait([self.opening])
        for link in self.links():
            if link.open and link.has_room(Room(commands, 0)):
                return link
        return None

    def links(self) -> list[Link]:
        """The link, when it is open."""
        task = self.opening
        return [] if not task.done() or task.cancelled() or task.exception() else [task.result()]

    @property
    def is_over(self) -> bool:
        """Whether its link is closed, or was never opened."""
        return self.opening.done() and not any(link.alive for link in self.links())

    def close(self) -> None:
        """The server takes writes again."""
        self._closed = True
        for link in self.links():
            link.retire("reads together")

    def _opened(self, task: asyncio.Task[Link]) -> None:
        if not task.cancelled() and task.exception() is None and self._closed:
            self.close()


class NotOpened(Exception):
    """For callers inside this room: opening a link failed with `error`, after redis-py's own retries."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Mux:
    """The links of one pool in one loop. Inert when built.

    `link` is where the next command goes if it is open; otherwise `ready` waits for one, in order. While a
    write is held up by the server, `split` has the link for commands that only read, and `link` is None.
    """

    def __init__(self, state: PoolState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.loop = loop
        self.pool = state.pool
        self.sharing = state.sharing
        self.tally = state.tally
        self.bulk = state.bulk
        self.clock = state.clock
        self.link: Link | None = None
        self.split: Split | None = None
        self._splits: list[Split] = []  # that one, and those whose links are still open
        self._links: list[Link] = []
        self._line: ByTurns[Room, Link] = ByTurns()
        self._queue: WaitQueue[Room, Link] = WaitQueue(
            "room on the shared connection",
            self.tally.meter,
            self.clock,
            give_back=self._give_back,
            hand_over=self._serve,
        )
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._until_shutdown: AsyncGenerator[None, None] | None = None
        self._second_due_s = self._split_due_s = 0.0
        self._serving = False

    @property
    def fallback(self) -> str | None:
        """Why the connections of this pool cannot be shared."""
        return self.state.fallback

    async def ready(self, commands: int = 1, size_bytes: int = 0, *, reads: bool = False) -> Link:
        """A link with room for so many commands, which must be submitted before anything else is awaited.

        `size_bytes` is about what they will take. More than the window holds get a link for themselves.
        `reads`: they only read. Raises NotOpened, MaxConnectionsError when too many wait already, or
        Elsewhere when another loop runs.
        """
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            raise Elsewhere
        if reads and self.split is not None:
            other = await self.split.link(commands)
            if other is not None:
                return other
        room = Room(min(commands, self.sharing.window), size_bytes)
        meter = self.tally.meter
        while True:
            link = self.link if self.split is None else self.split.stalled
            if link is not None and link.open and (commands == 1 or link.has_room(room)):
                return link
            if self._queue.waiting >= self.sharing.max_waiting:
                meter.refused += 1
                raise MaxConnectionsError(
                    f"Too many commands wait for the shared connection of {self.state.name}: raise "
                    f"Sharing(max_waiting={self.sharing.max_waiting})"
                )
            since_s = self.clock()
            # Not now: a future that is done is not waited for, and who waits longer is first.
            self._serve_soon()
            link = await self._queue.wait(self._line, room, label=current_label())
            meter.waits.record(self.clock() - since_s)
            self._serve_soon()
            if link.claim(room):
                return link

    def _give_back(self, waiter: Waiter[Room, Link]) -> None:
        """It was granted room and is gone: the next in line may have it."""
        waiter.turn.result().claim(waiter.wanted)
        self._serve()

    def _serve(self) -> None:
        """Give what room there is to those who wait; open a link if there is none. Choose the next link."""
        usable = [link for link in self._links if link.alive and link.retired is None]
        for link in usable:
            while (waiter := self._line.head()) is not None and link.has_room(waiter.wanted):
                link.grant(waiter.wanted)
                self._queue.grant(waiter, link)
            # Who comes now must not overtake those who were granted room and have not come back yet.
            link.open = not self._queue.waiting and not link.granted and link.has_room(ONE)
        least = min(usable, key=lambda link: link.inflight, default=None)
        self.link = least if self.split is None else None
        if not usable and self._line.head() is not None:
            self._open()

    def _serve_soon(self) -> None:
        """Serve in the next tick, when the caller who has just been given room has used it."""
        if not self._serving:
            self._serving = True
            self.loop.call_soon(self._serve_now)

    def _serve_now(self) -> None:
        self._serving = False
        self._serve()

    # -- opening --

    def _open(self) -> None:
        if self._opening is None:
            self._opening = self.loop.create_task(self._open_one())
            self._opening.add_done_callback(self._opened)

    async def _open_one(self) -> None:
        if self._until_shutdown is None:
            self._until_shutdown = self._close_at_shutdown()
            await anext(self._until_shutdown)
        self._links.append(await self.connect())

    def _opened(self, task: asyncio.Task[None]) -> None:
        """The attempt is over, one way or the other; a task that was cancelled may never have begun."""
        if task is not self._opening:
            return
        self._opening = None
        error = RedisConnectionError(INTERRUPTED) if task.cancelled() else task.exception()
        if error is not None:
            self._second_due_s = self.clock() + SECOND_LINK_PAUSE_S
            self.tally.events[f"not opened: {type(error).__name__}"] += 1
            if isinstance(error, Unfit):
                self.state.give_up(str(error))
            if not any(link.alive and link.retired is None for link in self._links):
                for waiter in self._line.everybody():
                    self._queue.refuse(waiter, NotOpened(copy_of(error)))
        self._serve()

    async def connect(self) -> Link:
        """Another link. Raises what `take` raises."""
        wire = await take(self.pool, alone=self.state.several_loops)
        link = Link(
            wire,
            self,
            window=self.sharing.window,
            max_bytes=self.sharing.max_bytes,
            early=self.sharing.early,
            bulk_bytes=self.sharing.bulk_bytes,
            clock=self.clock,
        )
        link.start()
        self.tally.opened += 1
        return link

    def goes_apart(self, args: Sequence[object]) -> bool:
        """Whether the reply is expected to be large, and a connection of the pool may be used for it."""
        return not self.state.loops_at_once and self.bulk.expects(args)

    async def prove(self) -> None:
        """Open the first link, so that it is known whether this pool's connections can be shared."""
        if not self.tally.opened:
            try:
                await self.ready()
            except NotOpened:
                return  # whoever asks next meets it too, and tells

    async def settle(self) -> None:
        """Write what was started before; wait for those who still wait for a link."""
        if self._queue.waiting or (self._opening is not None and not self._links):
            try:
                await self.ready()
            except (NotOpened, MaxConnectionsError):
                return
        for link in self._links:
            link.flush()

    # -- what links tell --

    def on_room(self) -> None:
        """A link may take more."""
        self._serve()

    def on_flush(self, link: Link, commands: int) -> None:
        """Count a write, and let another link have the next one."""
        tally = self.tally
        tally.meter.admitted += commands
        tally.batches[(commands - 1).bit_length()] += 1
        if self.sharing.links > 1:
            if len(self._links) < self.sharing.links and self.clock() >= self._second_due_s:
                self._open()
            for other in self._links:
                if other is not link and other.open:
                    self.link = other

    def on_stall(self, link: Link) -> bool:
        """A write of `link` is held up: let what only reads go over another link meanwhile."""
        if self.split is not None or link not in self._links or self.clock() < self._split_due_s:
            return False
        if only_reads_packed(link.next_command()):
            return False  # the server is at work, and no other link is faster
        self.tally.events["reads apart"] += 1
        self.split = Split(link, self.connect())
        self._splits = [self.split, *(split for split in self._splits if not split.is_over)]
        self.link = None
        return True

    def may_replace(self, link: Link) -> bool:
        """Not for ever more links: each of these drains."""
        return link in self._links and sum(each.retired is not None for each in self._links) < MOST_DRAINING

    def on_large(self, name: str, key: bytes) -> None:
        """Its reply is large: the next time it goes over a connection of its own."""
        if name:
            self.bulk.large(name, key)

    def _end_split(self, link: Link) -> None:
        if self.split is not None and self.split.stalled is link:
            split, self.split = self.split, None
            self._split_due_s = self.clock() + SPLIT_PAUSE_S
            split.close()
            self._serve()

    def on_batch(self, link: Link, commands: int, sent_s: float) -> None:
        """Count the replies to one write."""
        if self.split is not None:
            self._end_split(link)
        meter = self.tally.meter
        meter.services.record(self.clock() - sent_s)
        meter.completed += commands

    def on_lost(self, link: Link) -> None:
        """A link is closed: return its connection, and open another if somebody waits."""
        if link in self._links:
            self._links.remove(link)
        self._end_split(link)
        self.tally.events[f"closed: {link.retired or 'lost'}"] += 1
        if link.retired is None:
            self.tally.meter.overloads += 1
        task = link.loop.create_task(link.wire.give_back())
        self._closing.add(task)
        task.add_done_callback(self._closed)
        self._serve()

    def _closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.debug("a shared connection did not close cleanly", exc_info=task.exception())

    # -- closing --

    def _open_links(self) -> list[Link]:
        """Also those for reads apart."""
        apart = [link for split in self._splits for link in split.links() if link.alive]
        return [*self._links, *apart]

    def retire_all(self, reason: str) -> None:
        """Let every link finish what is in flight and close; the next command opens a new one."""
        for link in self._open_links():
            link.retire(reason)
        self._serve()

    async def aclose(self) -> None:
        """Close the links now. What is in flight fails as when the server closes the connection."""
        opening = [split.opening for split in self._splits]
        if self._opening is not None:
            opening.append(self._opening)  # type: ignore[arg-type]  # only their ends matter here
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening)
        for link in self._open_links():
            link.fail(link.wire.closed_error(None))
            await link.wait_closed()
        while self._closing:
            await asyncio.wait(tuple(self._closing))

    async def _close_at_shutdown(self) -> AsyncGenerator[None, None]:
        """asyncio closes its asynchronous generators before a loop ends: the one hook it offers."""
        try:
            yield
        finally:
            await self.aclose()
            await close_idle(self.pool)

    def retire_from_outside(self, reason: str) -> None:
        """As `retire_all`, from another thread, loop or no loop at all."""
        if self.loop.is_closed():
            self.forget()
        else:
            self.loop.call_soon_threadsafe(self.retire_all, reason)

    def leave_pool(self) -> None:
        """Take the connections off the pool's books: it is about to close those of another loop."""
        for link in self._open_links():
            link.wire.leave_pool()

    def forget(self) -> None:
        """The loop is closed: nothing of it may be awaited any more."""
        for link in self._open_links():
            link.wire.forget()
        self._links.clear()
        self._splits.clear()
        for waiter in self._line.everybody():
            self._queue.drop(waiter)
        self.link = None

    # -- telling --

    def stats(self) -> FlowStats:
        """The shared connections as a flow: in flight, waiting, and the window."""
        inflight = sum(link.inflight for link in self._links)
        return stats_of(self.pool, self.sharing, self.tally, inflight=inflight, waiting=self._queue.waiting)
