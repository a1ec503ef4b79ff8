"""The account that PostgreSQL runs under: ours, or an unprivileged one when we are root (it refuses root)."""

import hashlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from embedded.errors import GroundError
from embedded.folder import NAME, need_space, whole_folder

CANDIDATES = ("postgres", "nobody")
# Only used when the clone or its environment lies where the account cannot pass, such as below /root.
OPEN_GROUND = Path("/var/lib") / NAME


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def ids(self) -> tuple[int, int]:
        return self.uid, self.gid

    def reaches(self, path: Path) -> bool:
        """Whether the account may pass through every folder down to `path` and into it."""
        return all(self._passes(folder) for folder in (path.resolve(), *path.resolve().parents))

    def _passes(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except FileNotFoundError:
            return True  # one that is made later is as open as DataFolder makes it
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        if status.st_gid == self.gid:
            return bool(status.st_mode & 0o010)
        return bool(status.st_mode & 0o001)


def service_account() -> Account | None:
    """None when we are not root: then the servers run as we do."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise GroundError(
        "PostgreSQL refuses to run as root and this machine has neither a `postgres` nor a `nobody` account: "
        "add one, or start as an ordinary user."
    )


def reachable_program(account: Account | None, base: Path, parts: tuple[str, ...], name: str) -> Path:
    """`base` itself, or a folder `name` that `account` can reach with copies of the `parts` below `base`."""
    if account is None or account.reaches(base):
        return base
    copy = OPEN_GROUND / name
    if not copy.exists():
        OPEN_GROUND.mkdir(parents=True, exist_ok=True)
        need_space(OPEN_GROUND, 200, "a copy of PostgreSQL")

        def fill(folder: Path) -> None:
            for part in parts:
                shutil.copytree(base / part, folder / part, symlinks=True)
            folder.chmod(0o755)

        whole_folder(copy, fill)
    return copy


def settle(outside: Path, data_dir: Path) -> None:
    """Make `outside` belong to `data_dir`, which tells where its data is.

    When `data_dir` was removed, its data outside goes too: at the next start in the same place or, for a
    clone that is gone, at the next start of any.
    """
    for origin in OPEN_GROUND.glob("data-*/origin"):
        if not Path(origin.read_text()).exists():
            shutil.rmtree(origin.parent, ignore_errors=True)
    note = data_dir / "data-is-elsewhere.txt"
    if not note.exists():
        shutil.rmtree(outside, ignore_errors=True)
    outside.mkdir(parents=True, exist_ok=True)
    for folder in (OPEN_GROUND, outside):
        folder.chmod(0o711)
    (outside / "origin").write_text(str(data_dir.resolve()))
    note.write_text(f"PostgreSQL cannot work below this folder as root; its data is in {outside}\n")


def reachable_data(account: Account | None, folder: Path) -> Path:
    """`folder` itself, or a folder of its own outside when `account` cannot reach its parent."""
    if account is None or account.reaches(folder.parent):
        return folder
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return OPEN_GROUND / f"data-{mark}" / folder.name
