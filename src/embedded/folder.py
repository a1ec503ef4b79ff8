"""Folders of the ground: the cache of a user, the data of a clone (held by one run)."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from embedded.errors import GroundError

NAME = "sentinel-fluido"
SWEEP_AGE_S = 3600.0


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/sentinel-fluido`: downloads and built things that every clone of one user shares."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    folder = Path(base) / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GroundError(
            f"The cache folder {folder} cannot be made ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that you may write."
        ) from error
    return folder


def need_space(folder: Path, mebibytes: int, purpose: str) -> None:
    free = shutil.disk_usage(folder).free >> 20
    if free < mebibytes:
        raise GroundError(
            f"The disk of {folder} has {free} MiB free and {purpose} needs {mebibytes} MiB: free some space."
        )


def whole_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` work in a new folder beside `target`, which takes that name only when `fill` returns.

    `fill` may put files beside its folder whose names begin with the folder's; it removes them itself.

    Parts that a killed run left are removed by whoever comes next: `target` is never half made. Of several
    runs that want it at once, one makes it and the others wait.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with held(target.with_name(f".{target.name}.lock")):
        for stale in target.parent.glob(f".{target.name}.part-*"):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)
        if target.exists():
            return
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
        try:
            fill(part)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Wait for an exclusive lock on a file; the kernel frees it when the holder dies, however it dies."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class DataFolder:
    """The data of one clone. `take()` claims it for this run, `release()` gives it back.

    A throwaway folder (`path=None`) lives in the system's temporary folder until `release()`.
    """

    def __init__(self, path: Path | None) -> None:
        self.throwaway = path is None
        self._wanted = path
        self._path: Path | None = None
        self._lock: int | None = None

    @property
    def path(self) -> Path:
        if self._path is None:
            raise GroundError("The data folder has no place before take().")
        return self._path

    @property
    def taken(self) -> bool:
        """Whether this run holds it."""
        return self._lock is not None

    def take(self) -> Path:
        try:
            if self._wanted is None:
                sweep(Path(tempfile.gettempdir()))
                path = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
            else:
                path = self._wanted.expanduser().absolute()
                path.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                # PostgreSQL runs under another account then: it may pass, not look around.
                path.chmod(path.stat().st_mode | 0o111)
            descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise GroundError(f"The data folder {self._wanted} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise GroundError(
                f"The data folder {path} is in use by another run: stop that one, or give another folder."
            ) from error
        self._path, self._lock = path, descriptor
        (path / "log").mkdir(exist_ok=True)
        (path / "run").mkdir(exist_ok=True)
        return path

    def release(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is None:
            return
        if self.throwaway:
            shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(descriptor)


def sweep(temporary: Path, *, now_s: float | None = None) -> None:
    """Remove throwaway folders whose run was killed: an hour old and held by nobody."""
    oldest_s = (time.time() if now_s is None else now_s) - SWEEP_AGE_S
    for lock in temporary.glob(f"{NAME}-*/lock"):
        try:
            if lock.stat().st_mtime > oldest_s:
                continue
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # another account's, or gone in the meantime
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
