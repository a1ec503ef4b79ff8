"""A server as a child process: start, wait until it answers, stop, end what an earlier run left."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from embedded.errors import GroundError

GUARDIAN = Path(__file__).with_name("guardian.py")
TAIL_LINES = 12
# What a server needs to find its libraries and its language; secrets of the surrounding shell stay there.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `stop` lists signals, each with the seconds it may take; SIGKILL follows.

    Their sum stays below 10 s: that is how long a server may outlive a starter that was killed.
    """

    name: str
    argv: tuple[str, ...]
    folder: Path
    log: Path
    run_file: Path
    account: tuple[int, int] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stop: tuple[tuple[int, float], ...] = ((signal.SIGTERM, 7.0),)


class Child:
    """One server process behind its guardian. Inert until `start()`; `stop()` may be called at any time."""

    def __init__(self, command: Command, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.command = command
        self.pid: int | None = None
        self._clock = clock
        self._log_start = 0
        self._guardian: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()

    @property
    def running(self) -> bool:
        return self._guardian is not None and self._guardian.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The server's code once it has ended, 128 + N if signal N ended it."""
        return None if self._guardian is None else self._guardian.poll()

    def start(self) -> None:
        with self._changing:
            if self.running:
                return
            end_leftover(self.command.run_file)
            self._forget()
            command = self.command
            self._log_start = command.log.stat().st_size if command.log.exists() else 0
            inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
            spec = {
                "argv": command.argv,
                "folder": str(command.folder),
                "log": str(command.log),
                "account": command.account,
                "environment": inherited | dict(command.environment),
                "stop": command.stop,
            }
            guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARDIAN), json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Ctrl-C in a terminal must reach the starter only: it stops the servers in order.
                start_new_session=True,
            )
            self._guardian = guardian
            said = guardian.stdout.readline() if guardian.stdout is not None else b""
            word, _, rest = said.decode().strip().partition(" ")
            if word != "started":
                guardian.wait()
                reason = rest or f"{sys.executable} does not run {GUARDIAN}"
                raise GroundError(f"{command.name} could not be started: {reason}.")
            self.pid = int(rest)
            record(command.run_file, guardian.pid, self.pid)

    def wait_until(
        self, answers: Callable[[], bool], wait_s: float, *, given_up: threading.Event | None = None
    ) -> None:
        """Return when `answers()` is true. GroundError if the server ends first or `wait_s` passes."""
        until = self._clock() + wait_s
        pause_s = 0.01
        while not answers():
            if given_up is not None and given_up.is_set():
                raise GroundError(f"{self.command.name} was told to stop while it started.")
            if not self.running:
                raise GroundError(
                    f"{self.command.name} ended while it started (exit code {self.exit_code}); "
                    f"the end of its log {self.command.log} says:\n{self.tail()}"
                )
            if self._clock() > until:
                raise GroundError(
                    f"{self.command.name} did not answer within {wait_s:.0f} s; "
                    f"the end of its log {self.command.log} says:\n{self.tail()}"
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that this start wrote to the log."""
        try:
            with self.command.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                start = self._log_start if self._log_start <= size else 0
                log.seek(max(start, size - 16_384))
                text = log.read().decode(errors="replace")
        except OSError:
            return "  (nothing)"
        return "\n".join("  " + line for line in text.splitlines()[-lines:]) or "  (nothing)"

    def signal(self, number: int) -> None:
        """Send a signal to the server itself: for tests that pause it or hurt it."""
        if self.running and self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the server as a crash would, for tests, and return when nothing of it is left."""
        self.signal(signal.SIGKILL)
        if self._guardian is not None:
            self._guardian.wait(10.0)

    def stop(self) -> None:
        """Ask the guardian to stop the server and wait until both are gone."""
        with self._changing:
            guardian = self._guardian
            if guardian is None:
                return
            if guardian.stdin is not None:
                with suppress(OSError):
                    guardian.stdin.close()
            bound_s = sum(wait_s for _, wait_s in self.command.stop) + 3.0
            try:
                guardian.wait(bound_s)
            except subprocess.TimeoutExpired:
                end_leftover(self.command.run_file, patience_s=0.0)
                guardian.wait(5.0)
            self._forget()
            self.command.run_file.unlink(missing_ok=True)

    def _forget(self) -> None:
        guardian, self._guardian, self.pid = self._guardian, None, None
        if guardian is not None:
            for pipe in (guardian.stdin, guardian.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def record(run_file: Path, *pids: int) -> None:
    """Note pids with their start times, so that a number used again by a stranger is never mistaken."""
    alive = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            alive.append([pid, psutil.Process(pid).create_time()])
    part = run_file.with_suffix(".part")
    part.write_text(json.dumps(alive))
    part.replace(run_file)


def _pids(noted: object) -> list[tuple[int, float]]:
    """What `record` wrote. Whatever else stands there names no process of ours."""
    if not isinstance(noted, list):
        return []
    pairs = [pair for pair in noted if isinstance(pair, list) and len(pair) == 2]
    return [
        (pid, float(started))
        for pid, started in pairs
        if isinstance(pid, int) and isinstance(started, int | float) and pid > 0
    ]


def end_leftover(run_file: Path, *, patience_s: float = 10.0) -> None:
    """End what an earlier run noted in `run_file` and did not stop; its guardian has `patience_s` first."""
    try:
        noted = json.loads(run_file.read_text())
    except (OSError, ValueError):
        return
    alive = []
    for pid, started in _pids(noted):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if abs(process.create_time() - started) < 0.5:
                alive.append(process)
    if alive and patience_s:
        _, alive = psutil.wait_procs(alive, timeout=patience_s)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5.0)
    run_file.unlink(missing_ok=True)
