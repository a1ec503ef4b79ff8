"""Whose fault it is when no reply comes: the server's silence counts, that of its own process does not."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from fluido.redis._watch import Lost, Mark, Watch

TIMEOUT_S = 1.0


class Loop:
    """Timers by hand: a look happens when it is due, or as much later as the process stood still."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due_s = 0.0
        self.look: Callable[[], None] | None = None

    def call_later(self, pause_s: float, look: Callable[[], None]) -> "Loop":
        self.due_s, self.look = self.now_s + pause_s, look
        return self

    def cancel(self) -> None:
        self.look = None

    def turn(self, held_s: float = 0.0) -> None:
        """The next look, so much later than it was asked for."""
        look, self.look = self.look, None
        assert look is not None, "nobody looks any more"
        self.now_s = max(self.now_s, self.due_s) + held_s
        look()


class Wire:
    timeout_s = TIMEOUT_S

    def timeout_error(self) -> Exception:
        return TimeoutError("too late")


class Link:
    """What a watch sees of a link: two writes, of which nothing is answered yet."""

    def __init__(self) -> None:
        self.wire: Any = Wire()
        self.loop: Any = Loop()
        self.alive = True
        self.retired: str | None = None
        self.granted = 0
        waiting = asyncio.new_event_loop()
        self.pending: deque[asyncio.Future[Any]] = deque(waiting.create_future() for _ in range(2))
        waiting.close()
        self.marks: deque[Mark] = deque([(2, 2, 0.0, [b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"] * 2, frozenset())])
        self.answered = 0
        self.is_large = False
        self.watch = Watch(self, Owner())
        self.heard_s = self.awaited_s = 0.0
        self.watch.arm()

    def clock(self) -> float:
        return float(self.loop.now_s)

    def hear(self, *, whole: bool) -> None:
        self.heard_s = self.clock() - self.watch.held_s
        if whole:
            self.awaited_s = self.heard_s

    def retire(self, reason: str) -> None:
        self.retired = self.retired or reason

    def fail(self, error: Exception) -> None:
        self.alive = False


class Owner:
    """There is no other way for anybody."""

    def may_replace(self, link: Any, /) -> bool:
        return False

    def on_stall(self, link: Any, /) -> bool:
        return False


def test_a_server_that_says_nothing_is_left_after_the_socket_timeout() -> None:
    link = Link()
    while link.alive:
        link.loop.turn()
    assert TIMEOUT_S <= link.clock() < 1.1 * TIMEOUT_S


def test_standing_still_again_and_again_is_no_silence_of_the_server() -> None:
    link = Link()
    for _ in range(10):
        link.loop.turn(held_s=0.4)  # hardly awake before it stands still again
    assert link.clock() > 4 * TIMEOUT_S
    assert link.alive
    assert not link.pending[0].done()
    link.hear(whole=True)
    began_s = link.clock()
    while link.alive:
        link.loop.turn()
    assert TIMEOUT_S <= link.clock() - began_s < 1.1 * TIMEOUT_S  # and then it does count


def test_a_path_that_is_dead_is_left_although_the_process_stands_still_now_and_then() -> None:
    link = Link()
    while link.alive:
        link.loop.turn(held_s=0.02)
    assert link.clock() < 10 * TIMEOUT_S


def test_who_waits_for_a_reply_that_comes_in_pieces_is_not_late_because_of_a_held_loop() -> None:
    link = Link()
    for _ in range(10):
        link.loop.turn(held_s=0.4)
        link.hear(whole=False)
    assert link.alive
    assert link.retired is None
    while link.retired is None:
        link.loop.turn()
        link.hear(whole=False)
    late = link.pending[0].result()
    assert isinstance(late, Lost)
    assert late.sent
    assert not link.pending[1].done()  # that one is not to blame
    assert link.alive
