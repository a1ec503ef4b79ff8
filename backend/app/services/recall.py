"""The newest transcripts, kept in this process."""

import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .transcript import Transcript

Key = TypeVar("Key", bound=Hashable)
# A turn beside its text: the object, its place in the tuple and in the heap (CPython 3.11 to 3.13).
TURN_BYTES = 80


@dataclass(frozen=True, slots=True)
class _Kept:
    transcript: Transcript
    size: int
    until_s: float


class Recall(Generic[Key]):
    """At most `max_entries` transcripts and `max_bytes` of text; what was kept longest ago goes first.

    None is handed out after `max_age_s`: its conversation may have been deleted elsewhere.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: float = math.inf,
        *,
        max_age_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self._max_age_s = max_age_s
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, key: Key) -> Transcript | None:
        """Return what was said; None when nothing is known."""
        kept = self._kept.get(key)
        return None if kept is None or kept.until_s <= self._clock() else kept.transcript

    def keep(self, key: Key, transcript: Transcript) -> None:
        """Keep the newest transcript of `key` and let go of what has no room or is too old."""
        self.forget(key)
        now_s = self._clock()
        size = sum(sys.getsizeof(turn.content) + TURN_BYTES for turn in transcript.turns)
        self._kept[key] = _Kept(transcript, size, now_s + self._max_age_s)
        self.bytes += size
        while self._kept and not self._is_within(now_s):
            _, gone = self._kept.popitem(last=False)
            self.bytes -= gone.size

    def forget(self, key: Key) -> None:
        """Let go of one."""
        if (gone := self._kept.pop(key, None)) is not None:
            self.bytes -= gone.size

    def _is_within(self, now_s: float) -> bool:
        oldest = next(iter(self._kept.values()))
        return len(self._kept) <= self.max_entries and self.bytes <= self.max_bytes and oldest.until_s > now_s
