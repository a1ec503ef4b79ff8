"""File descriptors and garbage collection of a gateway's process: room for many streams, no long pause."""

import gc
from contextlib import suppress

# Each stream has two connections; what else is open are logs, pipes and the engines' pages.
FILES_A_CONNECTION, OTHER_FILES = 2, 128
FEWEST = 16


def room_for(connections: int) -> int:
    """How many of them there is room for, once the limit of open files was raised as far as it goes."""
    try:
        import resource  # noqa: PLC0415  (Windows has neither the module nor the limit)
    except ImportError:
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_A_CONNECTION * connections + OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if 0 <= soft < most:
        with suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    return max(FEWEST, (soft - OTHER_FILES) // FILES_A_CONNECTION)


def freeze() -> None:
    """Leave out of every garbage collection what is there now.

    A look at all objects of a process takes tens of milliseconds, in which no stream gets a byte. They
    are as frequent as before: what a call leaves behind in cycles may hold its body.
    """
    gc.collect()
    gc.freeze()
