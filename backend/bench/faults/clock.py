"""A wall clock that can be put off for the programs that are started with it, by libfaketime."""

from collections.abc import Mapping
from pathlib import Path

LIBRARIES = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)
MISSING = "a stepped clock needs libfaketime (`apt-get install faketime`)"


def faketime() -> Path | None:
    """The library, where Debian's package put it."""
    return next((place for place in LIBRARIES if place.exists()), None)


class SteppedClock:
    """Off by what `step` wrote into `file` last; a clock that only runs (monotonic) is left alone."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def environment(self, library: Path) -> Mapping[str, str]:
        """What a program needs to be started with. The clock is right until the first step."""
        self.step(0)
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Seconds ahead of the right time; negative: behind. Seen within a second."""
        self._file.write_text(f"{seconds:+d}\n")
