"""Virtual time for the load: nothing here waits."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fluido.testing.virtual_loop import VirtualLoop

Virtual = Callable[[Callable[[VirtualLoop], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def virtual() -> Virtual:
    """Runs a coroutine function of one argument, the loop, whose `time` is the clock."""

    def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
        loop = VirtualLoop()
        loop.run(main(loop))

    return run
