"""Processes of this machine: who listens on a port, who is connected to it. Linux only; elsewhere nothing."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED, LISTENING = "01", "0A"


@dataclass(frozen=True, slots=True)
class Link:
    """One TCP socket of this machine."""

    local_port: int
    remote_port: int
    state: str
    inode: str


def links(proc: Path = PROC) -> list[Link]:
    """Every TCP socket; none where the system does not tell."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                parts = line.split()
                ports = [int(place.rpartition(":")[2], 16) for place in parts[1:3]]
                found.append(Link(ports[0], ports[1], parts[3], parts[9]))
    return found


def connected(port: int, *, but: Collection[int] = (), proc: Path = PROC) -> tuple[str, ...]:
    """The names of processes, not those of `but` and not ours, that are connected to `port` here."""
    inodes = {link.inode for link in links(proc) if link.remote_port == port and link.state == ESTABLISHED}
    others = {pid for pid in _owners(inodes, proc) if pid not in {os.getpid(), *but}}
    return tuple(sorted({_name(pid, proc) for pid in others} - {""}))


def listener(port: int, proc: Path = PROC) -> int:
    """The process that listens on `port`, 0 where nobody does or it cannot be seen."""
    inodes = {link.inode for link in links(proc) if link.local_port == port and link.state == LISTENING}
    return next(_owners(inodes, proc), 0)


def environment(pid: int, proc: Path = PROC) -> dict[str, str] | None:
    """The variables that a process was started with; None where that is not ours to read."""
    try:
        raw = (proc / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.decode(errors="replace").partition("=") for entry in raw.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def _owners(inodes: Collection[str], proc: Path) -> Iterator[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return
    with suppress(OSError):
        for folder in proc.iterdir():
            if folder.name.isdigit() and _has_any(folder, wanted):
                yield int(folder.name)


def _has_any(folder: Path, wanted: Collection[str]) -> bool:
    with suppress(OSError):
        for handle in (folder / "fd").iterdir():
            with suppress(OSError):
                if str(handle.readlink()) in wanted:
                    return True
    return False


def _name(pid: int, proc: Path) -> str:
    with suppress(OSError):
        return (proc / str(pid) / "comm").read_text().strip()
    return ""
