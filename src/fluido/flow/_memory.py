"""What a law has learned, kept over a restart: in a file, or wherever a store of one's own puts it.

A memory is only an offer. The law begins at the user's constant, tries what is remembered in its second slot
of time, and keeps it where that pays: one that is old, or of a better server, does no harm.
"""

import asyncio
import json
import logging
import math
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from fluido.laws._base import Law
from fluido.laws._rungs import Memory

log = logging.getLogger("fluido.memory")

SAVE_EVERY_S = 10.0
MARK = "fluido limits"  # a file that does not begin with it is somebody else's, and is never written
MOST_BYTES = 256 * 1024
MOST_FLOWS = 256


@runtime_checkable
class MemoryStore(Protocol):
    """Keeps one short text for each key. Both may block and may fail: a flow logs it and goes on."""

    def load(self, key: str, /) -> str | bytes | None:
        """The text that was saved last, or None."""

    def save(self, key: str, text: str, /) -> None:
        """Keep this text instead."""


class MemoryFile:
    """A JSON file with a text for each of several flows. Written whole and renamed, so never half of it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self, key: str, /) -> str | None:
        """The text of one flow; None where there is none. ValueError for a file that is not ours."""
        return self._all().get(key)

    def save(self, key: str, text: str, /) -> None:
        """Keep the text of one flow beside those of the others. ValueError for a file that is not ours."""
        try:
            texts = self._all()
        except _Damaged:
            texts = {}
        texts.pop(key, None)
        texts[key] = text  # the newest last
        kept = dict(list(texts.items())[-MOST_FLOWS:])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump({"what": MARK, "flows": kept}, file)
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _all(self) -> dict[str, str]:
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return {}
        if not content.strip():
            return {}
        if not content.startswith(b'{"what": "' + MARK.encode()):
            raise ValueError(f"{self.path} is not a memory of limits: it is left as it is")
        try:
            flows = json.loads(content)["flows"]
            return {key: text for key, text in flows.items() if isinstance(text, str)}
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise _Damaged(f"{self.path} is damaged") from error


class _Damaged(ValueError):
    """Ours, and not to be read: it is written anew."""


Place = str | os.PathLike[str] | MemoryStore


def store_of(place: Place) -> MemoryStore:
    """The store behind what a user gives: a path, or a store. TypeError for anything else."""
    if isinstance(place, (str, os.PathLike)):
        return MemoryFile(place)
    if isinstance(place, MemoryStore):
        return place
    raise TypeError(f"memory takes a path or an object with load() and save(), not {type(place).__name__}")


def recalled(place: Place | None, key: str) -> Memory | None:
    """What an earlier start of this flow learned. None, and a line in the log, where it cannot be used."""
    if place is None:
        return None
    try:
        text = store_of(place).load(key)
        if text is None:
            return None
        found = json.loads(text)
        limit, reference = float(found["limit"]), float(found["reference"])
        if not (1 <= limit < math.inf and 1 <= reference < math.inf):
            raise ValueError(f"limit {limit}, reference {reference}")
    except Exception as error:  # noqa: BLE001  (a store can be anybody's; without it we begin as if new)
        log.warning("What was learned for %s is ignored: %s: %s", key, type(error).__name__, error)
        return None
    return Memory(limit, reference)


class Kept:
    """Saves what a law has learned, when it has changed and at most every ten seconds. Never raises."""

    def __init__(self, place: Place, key: str, law: Law) -> None:
        self._store = store_of(place)
        self._key = key
        self._memory: Callable[[], Memory] | None = getattr(law, "memory", None)
        self._saved: Memory | None = None
        self._due_s = -math.inf
        self._failing = False
        self._writing: asyncio.Future[None] | None = None

    def save_soon(self, now_s: float) -> None:
        """Save in a thread of its own, if there is news and it is time."""
        if now_s < self._due_s or (self._writing is not None and not self._writing.done()):
            return
        self._due_s = now_s + SAVE_EVERY_S
        if (memory := self._news()) is None:
            return
        try:
            loop = asyncio.get_running_loop()
            self._writing = loop.run_in_executor(None, self._write, memory)
        except RuntimeError:
            pass  # no loop, or one that is being closed: `save()` comes at the end

    def save(self) -> None:
        """Save now, if there is news; blocks for as long as the store does."""
        memory = self._news()
        if memory is not None:
            self._write(memory)

    def _news(self) -> Memory | None:
        memory = self._memory() if self._memory is not None else None
        first = self._saved is None and memory is not None and memory.limit == memory.reference
        return None if memory == self._saved or first else memory

    def _write(self, memory: Memory) -> None:
        try:
            text = json.dumps({"limit": memory.limit, "reference": memory.reference})
            self._store.save(self._key, text)
        except Exception as error:  # noqa: BLE001  (a store can be anybody's; the flow does not need it)
            if not self._failing:
                log.warning(
                    "What was learned for %s cannot be saved: %s: %s", self._key, type(error).__name__, error
                )
            self._failing = True
        else:
            self._saved, self._failing = memory, False
