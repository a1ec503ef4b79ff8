"""Pipelining on one shared connection: commands of a tick leave in one write, replies come in order."""

import asyncio
import operator
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from fluido.redis._adapter import NOT_ENOUGH_DATA, Pushes, Reply, Wire, hiredis, observed
from fluido.redis._bulk import name_and_key
from fluido.redis._watch import Elsewhere, Lost, Mark, Owner, Watch, copy_of

READ_BYTES = 64 << 10
# hiredis moves what it has not parsed yet to the front after every reply: the price of a reply grows with
# the piece it is fed. 0.44 us a reply of 1 KB at 16 KiB, 3.2 us at 256 KiB (hiredis 3.5).
FEED_BYTES = 16 << 10
# Packed commands are kept until they are answered, to know whose reply is large and what may move; only
# their beginnings where they are that many bytes in one write.
KEEP_BYTES = 256 << 10
HEAD_BYTES = 256
_DONE = operator.methodcaller("done")
_thread = threading.get_ident


class Room(NamedTuple):
    """What a caller needs of a link: so many commands, and about so many bytes."""

    commands: int
    size_bytes: int


class Link(asyncio.BufferedProtocol):
    """Full duplex over one transport. Every result is a value, errors too: a future nobody awaits stays
    silent.

    `open` says whether the next command may be submitted now; `submit` does not check it again. Cancelled
    before its write, a command never reaches the wire; cancelled later, its reply is dropped in its turn.
    A write is at the end of the tick, or as soon as half of what is in flight, and at least `early`
    commands, wait for it.
    """

    def __init__(
        self,
        wire: Wire,
        owner: Owner,
        *,
        window: int,
        max_bytes: int,
        early: int,
        bulk_bytes: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.wire = wire
        self.owner = owner
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.window = window
        self.max_bytes = max_bytes
        self.bulk_bytes = bulk_bytes
        self.open = True
        self.alive = True
        self.retired: str | None = None
        self.inflight = 0
        self.granted = 0  # commands of waiters that were woken and have not submitted yet
        self.pack = wire.packer()
        self.observed = observed()
        self._thread = _thread()
        self._create_future = self.loop.create_future
        self._gets = wire.reader.gets
        self._feed = wire.reader.feed
        self._push_type = hiredis.PushNotification
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._chunks: list[bytes] = []
        self._futures: list[asyncio.Future[Reply]] = []
        self._unsent_bytes = 0
        self._granted_bytes = 0
        self._runs: list[list[asyncio.Future[Reply]]] = []
        self._raw_futures: set[asyncio.Future[Reply]] = set()
        self.pending: deque[asyncio.Future[Reply]] = deque()
        self._sent = 0
        self.answered = 0
        self._raw: deque[int] = deque()  # positions whose replies must stay bytes
        self.marks: deque[Mark] = deque()
        self.heard_s = self.awaited_s = clock()  # both less what the loop was held
        self._partial = 0  # bytes that have come of a reply that is not complete
        self._watch = Watch(self, owner)
        self.allow_silence = self._watch.allow_silence
        self._early = self._early_now = early
        self._paused = False
        self._pushes = Pushes(self._handle_push, wire.transport)
        self._closed = self.loop.create_future()

    def start(self) -> None:
        """Take the transport over."""
        ahead = self.wire.take_over(self)
        if ahead:
            self._feed(ahead, 0, len(ahead))
        if ahead or self.wire.reader.has_data():
            self._read_replies(self.clock())

    # -- submitting --

    def submit(self, packed: bytes, *, raw: bool = False) -> asyncio.Future[Reply]:
        """Queue one packed command for this tick's write. The caller has seen `open`, in this very tick.

        Raises Elsewhere when another loop runs than the link's. Asking which loop runs costs a system call
        on CPython 3.11, so it is asked once a write; for the others, the thread and the loop tell.
        """
        if self._chunks:
            if _thread() != self._thread or not self.loop.is_running():
                raise Elsewhere
        else:
            if asyncio.get_running_loop() is not self.loop:
                raise Elsewhere
            self._thread = _thread()
            self.loop.call_soon(self.flush)
        future: asyncio.Future[Reply] = self._create_future()
        self._chunks.append(packed)
        self._futures.append(future)
        self.inflight = inflight = self.inflight + 1
        self._unsent_bytes += len(packed)
        if raw:
            self._raw_futures.add(future)
        if inflight + self.granted >= self.window or self._unsent_bytes >= self.max_bytes:
            self.open = False
        waiting = len(self._futures)
        if waiting >= self._early_now and waiting * 2 >= inflight:
            self.flush()
        return future

    def submit_run(
        self, packed: list[bytes], raw: frozenset[int] = frozenset()
    ) -> list[asyncio.Future[Reply]]:
        """Queue commands that no other may come between. Await and cancel only the last future."""
        self._early_now = sys.maxsize  # a part of a run that is written could not be taken back
        try:
            run = [self.submit(piece, raw=position in raw) for position, piece in enumerate(packed)]
        finally:
            self._early_now = self._early
        self._runs.append(run)
        return run

    def grant(self, room: Room) -> None:
        """Keep room for a waiter that has been woken."""
        self.granted += room.commands
        self._granted_bytes += room.size_bytes

    def claim(self, room: Room) -> bool:
        """A waiter that was granted room has come back; whether it may submit, now."""
        self.granted -= room.commands
        self._granted_bytes -= room.size_bytes
        if self.alive and self.retired is None:
            return True
        if self.retired is not None:
            self._close_when_drained()
        return False

    def has_room(self, room: Room) -> bool:
        """Whether so much may be submitted or granted now. An idle link takes any size."""
        if not self.alive or self.retired is not None:
            return False
        held_bytes = self._unsent_bytes + self._granted_bytes
        if held_bytes and held_bytes + room.size_bytes >= self.max_bytes:
            return False
        return self.inflight + self.granted + room.commands <= self.window

    def retire(self, reason: str) -> None:
        """Take no more commands, answer those in flight, close. The first reason stands."""
        if self.retired is None and self.alive:
            self.retired = reason
            self.open = False
            self._close_when_drained()

    async def wait_closed(self) -> None:
        """Until the connection is closed."""
        await asyncio.shield(self._closed)

    def fail(self, error: Exception) -> None:
        """Close now; whoever waits for a reply gets a copy of `error`."""
        if self.alive:
            self.alive = self.open = False
            self._settle(error)
            self.wire.transport.abort()

    # -- writing --

    def flush(self) -> None:
        """Write what is queued: the tick ends, or something that must come later goes another way."""
        if self._paused or not self.alive or not self._chunks or self.wire.transport.is_closing():
            return  # a closing transport drops what it is given: what stays here is known to be unsent
        fixed = self._drop_cancelled()
        futures, chunks = self._futures, self._chunks
        kept = chunks if self._unsent_bytes <= KEEP_BYTES else [chunk[:HEAD_BYTES] for chunk in chunks]
        self._futures, self._chunks, self._unsent_bytes = [], [], 0
        credentials = self.wire.take_credentials()
        if credentials is not None:
            futures.insert(0, self._credential_future())
            chunks.insert(0, self.pack(credentials))
        if futures:
            if self._raw_futures:
                self._raw.extend(
                    self._sent + position
                    for position, future in enumerate(futures)
                    if future in self._raw_futures
                )
                self._raw_futures.clear()
            now_s = self.clock()
            if not self.pending:  # silence counts from the first question
                self.heard_s = self.awaited_s = now_s - self._watch.held_s
            self._sent += len(futures)
            self.pending.extend(futures)
            self.marks.append((self._sent, len(futures), now_s, kept, fixed))
            self._watch.arm()
            self.observed = observed()
            self.owner.on_flush(self, len(futures))
            self.wire.transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self.wire.marked_for_reconnect:
            self.retire("maintenance")
        if not self.open:
            self._make_room()
        if self.retired is not None:
            self._close_when_drained()

    def _drop_cancelled(self) -> frozenset["asyncio.Future[Reply]"]:
        """Take out what nobody waits for; returns what belongs to a run of several."""
        fixed: frozenset[asyncio.Future[Reply]] = frozenset()
        for run in self._runs:
            if run[-1].done():
                for future in run:
                    future.cancel()
            elif len(run) > 1:
                fixed = fixed.union(run)
        self._runs.clear()
        if any(map(_DONE, self._futures)):
            kept = [
                (future, chunk)
                for future, chunk in zip(self._futures, self._chunks, strict=True)
                if not future.done()
            ]
            self.inflight -= len(self._futures) - len(kept)
            self._futures = [future for future, _ in kept]
            self._chunks = [chunk for _, chunk in kept]
        return fixed

    def _credential_future(self) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._create_future()
        future.add_done_callback(self._on_credentials)
        self.inflight += 1
        return future

    def _on_credentials(self, future: asyncio.Future[Reply]) -> None:
        if isinstance(future.result(), Exception):
            self.retire("credentials refused")

    def pause_writing(self) -> None:
        """The transport has enough: keep what comes until it has sent some."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport can take more."""
        self._paused = False
        self.flush()

    # -- reading --

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The same memory every time. asyncio's TLS corrupts a bytearray here (cpython#156275)."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` have come."""
        now_s = self.clock()
        base = self._buffer.obj
        for start in range(0, nbytes, FEED_BYTES):
            size = min(FEED_BYTES, nbytes - start)
            self._feed(base, start, size)
            if self._read_replies(now_s):
                self._partial = 0
            else:
                self._grow(size, now_s)
            if not self.alive:
                return

    def _read_replies(self, now_s: float) -> bool:
        """Hand out what is complete; whether anything was. A push is no sign of life for who waits."""
        gets, pending, raw, push_type = self._gets, self.pending, self._raw, self._push_type
        take_next, not_yet = pending.popleft, NOT_ENOUGH_DATA
        before = answered = self.answered
        pushed = False
        while True:
            try:
                if raw and raw[0] == answered:
                    reply = gets(False)
                    if reply is not not_yet and reply.__class__ is not push_type:
                        raw.popleft()
                else:
                    reply = gets()
            except UnicodeDecodeError as error:
                reply = error  # hiredis has taken the reply out: it belongs to its caller
            except Exception as error:  # noqa: BLE001  # whatever hiredis raises, the stream is out of step
                self._finish_reading(before, answered, now_s)
                self.fail(error)
                return True
            if reply is not_yet:
                break
            if reply.__class__ is push_type:
                pushed = True
                self._pushes.take(reply)
                continue
            if not pending:
                self.fail(self.wire.closed_error(ValueError("a reply without a question")))
                return True
            answered += 1
            future = take_next()
            if not future.done():
                future.set_result(reply)
        self._finish_reading(before, answered, now_s)
        return pushed or answered != before

    def _grow(self, size: int, now_s: float) -> None:
        """A piece of a reply has come: learn whose it is when it becomes large."""
        self.heard_s = now_s - self._watch.held_s
        before, self._partial = self._partial, self._partial + size
        if before <= self.bulk_bytes < self._partial:
            self.owner.on_large(*name_and_key(self.next_command()))

    def next_command(self) -> bytes:
        """The packed command whose reply comes next, or the beginning of it; empty if there is none."""
        if not self.marks:
            return b""
        end, count, _, chunks, _ = self.marks[0]
        return chunks[self.answered - (end - count)]

    @property
    def is_large(self) -> bool:
        """Whether a large reply is on its way."""
        return self._partial > self.bulk_bytes

    def _finish_reading(self, before: int, answered: int, now_s: float) -> None:
        if answered == before:
            return
        self.answered = answered
        self.heard_s = self.awaited_s = now_s - self._watch.held_s
        self.inflight -= answered - before
        marks = self.marks
        while marks and marks[0][0] <= answered:
            _, commands, sent_s, _, _ = marks.popleft()
            self._watch.note(now_s - sent_s)
            self.owner.on_batch(self, commands, sent_s)
        if not self.open:
            self._make_room()
        if self.retired is not None:
            self._close_when_drained()

    def _make_room(self) -> None:
        if self.alive and self.retired is None:
            self.owner.on_room()

    def eof_received(self) -> bool:
        """The peer will send no more: let the transport close."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is closed; the stream that stood here before us wants to know too."""
        self.alive = self.open = False
        self._settle(self.wire.closed_error(exc))
        self.wire.original.connection_lost(exc if isinstance(exc, Exception) else None)
        self._watch.stop()
        if not self._closed.done():
            self._closed.set_result(None)
        self.owner.on_lost(self)

    def _settle(self, error: Exception) -> None:
        # Each waiter gets its own exception: one instance raised by many grows a traceback without bound.
        for future in self.pending:
            if not future.done():
                future.set_result(Lost(copy_of(error), sent=True))
        for future in self._futures:
            if not future.done():
                future.set_result(Lost(copy_of(error), sent=False))
        self.inflight = 0
        self.pending.clear()
        self._futures, self._chunks, self._unsent_bytes = [], [], 0
        self._runs.clear()
        self._raw_futures.clear()
        self._raw.clear()
        self.marks.clear()

    def _close_when_drained(self) -> None:
        if not self.pending and not self._futures and not self.granted and self.alive:
            self.wire.transport.close()

    async def _handle_push(self, push: Reply) -> None:
        await self.wire.handle_push(push)
        if self.wire.marked_for_reconnect:
            self.retire("maintenance")
