"""The ground of a fault run: everything twice, links that can be hurt, a small disk, a clock to step."""

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

import psutil

from bench.faults.clock import MISSING, SteppedClock, faketime
from bench.faults.wire import Wire
from embedded import EngineOptions, Topology
from embedded.account import service_account

ROOT = Path(__file__).parents[3]
DISK_MIB = 700
BALLAST = "ballast"


class Scene:
    """`async with Scene() as scene:` runs everything; `missing` says what cannot be hurt here, and why.

    The logs of the parts are copied to `logs` at the end.
    """

    def __init__(self, *, needs_disk: bool, needs_clock: bool, logs: Path | None = None) -> None:
        self._logs = logs
        self.missing: dict[str, str] = {}
        self.wires: dict[str, Wire] = {}
        self.folder = Path(mkdtemp(prefix="sentinel-faults-"))
        self.folder.chmod(0o711)
        self.clock = SteppedClock(self.folder / "clock")
        self._mounts: list[Path] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        if needs_disk:
            self._mount()
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")])}
        if needs_clock:
            library = faketime()
            if library is None:
                self.missing["clock"] = MISSING
            else:
                environment |= self.clock.environment(library)
        self.topology = Topology(
            [sys.executable, "-m", "app", "serve"],
            home=ROOT / "backend",
            environment=environment,
            data_dir=self.folder,
            engine="synthetic",
            engine_options=EngineOptions(slots=4, threads=1),
            via=self._via,
        )
        self.seen: set[psutil.Process] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self.topology.start)
        except BaseException:
            await self._end()
            raise
        self.note_processes()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end()

    def note_processes(self) -> None:
        """Remember every process that runs for us now: none may be left at the end."""
        with suppress(psutil.Error):
            self.seen.update(psutil.Process().children(recursive=True))

    def left_over(self) -> list[str]:
        """Processes that outlived the scene."""
        _, alive = psutil.wait_procs(list(self.seen), timeout=10.0)
        return [f"{process.pid} {process.name()}" for process in alive]

    def broken(self) -> str:
        """The first part that does not do its work now, or an empty text. One fault at a time is promised."""
        for server in self.topology.servers:
            if not (server.running and server.answers()):
                return server.name
        if not any(member.says().get("sync_standby") for member in self.topology.members):
            return "a synchronous standby of PostgreSQL"
        return ""

    def fill_disk(self, member: Path) -> None:
        """Take what is left of a member's disk."""
        size = os.statvfs(member)
        with (member / BALLAST).open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, size.f_bavail * size.f_frsize - 4096)

    def free_disk(self) -> None:
        for place in self._mounts:
            (place / BALLAST).unlink(missing_ok=True)

    def _via(self, name: str, port: int) -> int:
        """Called from the thread that starts the topology."""
        assert self._loop is not None  # noqa: S101 - set before that thread begins
        wire = asyncio.run_coroutine_threadsafe(Wire(port).open(), self._loop).result(10.0)
        self.wires[name] = wire
        return wire.port

    def _mount(self) -> None:
        """A small tmpfs under each member's data; only root may."""
        account = service_account()
        if os.geteuid() != 0 or sys.platform != "linux":
            self.missing["disk"] = "a small disk needs root and Linux (a tmpfs is mounted)"
            return
        if account is None or not account.reaches(self.folder):
            self.missing["disk"] = f"PostgreSQL's account cannot reach {self.folder.parent}"
            return
        for name in ("postgres-a", "postgres-b"):
            place = self.folder / name
            place.mkdir()
            done = subprocess.run(
                ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)],
                capture_output=True,
                check=False,
            )
            if done.returncode:
                self.missing["disk"] = f"mount: {done.stderr.decode(errors='replace').strip()}"
                return
            self._mounts.append(place)

    async def _end(self) -> None:
        self.note_processes()
        await asyncio.to_thread(self.topology.stop)
        for wire in self.wires.values():
            await wire.close()
        await asyncio.to_thread(self._clear)

    def _clear(self) -> None:
        if self._logs is not None:
            shutil.rmtree(self._logs, ignore_errors=True)
            shutil.copytree(self.folder / "log", self._logs, ignore_dangling_symlinks=True)
        for place in self._mounts:
            subprocess.run(["/bin/umount", "-l", str(place)], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
