"""An event loop whose time jumps to the next timer: asyncio code of hours runs in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class NothingScheduled(RuntimeError):
    """Every task waits for something that nobody will do: in real time this would hang."""


class _Jump(selectors.SelectSelector):
    """Instead of waiting for `timeout` seconds, lets them have passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingScheduled("no timer, no ready task: the code under test is stuck")
        self.now_s += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return super().get_map() or {}


class VirtualLoop(asyncio.SelectorEventLoop):
    """`VirtualLoop().run(main())`. Use `loop.time` as the clock of what you test.

    Sockets, subprocesses and other threads do not exist in virtual time: nothing would wake the loop.
    """

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.now_s

    def run(self, main: Coroutine[Any, Any, Answer]) -> Answer:
        """Run one coroutine to its end, cancel what it left running, and close the loop.

        Raises NothingScheduled when every task waits and no timer is left.
        """
        try:
            return self.run_until_complete(main)
        finally:
            self._wind_down()
            self.close()

    def _wind_down(self) -> None:
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        if left:
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())
