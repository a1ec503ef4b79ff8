"""Stand between a server and the process that started it. Run as a script, one for each server.

`python -I -S guardian.py SPEC` starts the server that the JSON object SPEC describes, prints `started PID`
(or `failed REASON`) and waits. The server is stopped when standard input ends, when the starter has died
(seen by the changed parent as well, because a forked relative of the starter can hold the pipe open), or on
SIGTERM. When the server ends, the guardian ends with its exit code. Only the standard library: it must start
in a few ms.

On Linux the kernel stops the server too if the guardian itself is killed (PR_SET_PDEATHSIG), and what a
server leaves when it dies becomes the guardian's child and is ended (PR_SET_CHILD_SUBREAPER): a busy backend
of PostgreSQL outlives its postmaster and would keep the next one from starting.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

LOOK_S = 0.5
ORPHAN_ROUNDS_MAX = 5
LOG_BYTES_MAX = 16 << 20
LOG_BYTES_KEPT = 1 << 20
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def become_server(spec: dict[str, Any], guardian: int) -> None:
    """In the forked child: own process group, log, account, then the program. Does not return."""
    os.setpgid(0, 0)
    kernel = ctypes.CDLL(None)  # before the account changes: it may not reach Python's own folder
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if spec["account"]:
        uid, gid = spec["account"]
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    os.chdir(spec["folder"])
    os.umask(0o077)
    if sys.platform == "linux":
        # after the account: the kernel forgets this signal when credentials change
        kernel.prctl(PR_SET_PDEATHSIG, spec["stop"][0][0])
        if os.getppid() != guardian:
            os._exit(1)
    os.execve(spec["argv"][0], spec["argv"], spec["environment"])  # noqa: S606  no shell is the point


def bound_log(path: Path) -> None:
    """Keep the last part as PATH.1 and start again: servers append, so truncating is safe."""
    try:
        if path.stat().st_size <= LOG_BYTES_MAX:
            return
        with path.open("r+b") as log:
            log.seek(-LOG_BYTES_KEPT, os.SEEK_END)
            path.with_name(path.name + ".1").write_bytes(log.read(LOG_BYTES_KEPT))
            log.truncate(0)
    except OSError:
        return  # a log is never worth a server


def send(server: int, number: int) -> None:
    try:
        # SIGKILL goes to everything in the server's group; the gentle ones only to the server itself.
        os.kill(-server if number == signal.SIGKILL else server, number)
    except (ProcessLookupError, PermissionError):
        return


def reaped(pid: int, wait_s: float) -> int | None:
    """The exit code of our child `pid`, or None when it still runs after `wait_s`.

    Orphans that came to us and ended are taken note of on the way: whoever asks whether they run (Patroni of
    its postmaster) would take a zombie for a living process.
    """
    until = time.monotonic() + wait_s
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0  # somebody's round before took it with the others
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if ended:
            continue
        if time.monotonic() >= until:
            return None
        time.sleep(0.01)


def end_rest(server: int) -> None:
    """Kill what an ended server left: its process group, and on Linux the orphans that came to us."""
    send(server, signal.SIGKILL)
    # Children of an orphan that was killed become orphans in turn.
    for _ in range(ORPHAN_ROUNDS_MAX):
        if not end_orphans():
            return


def end_orphans() -> bool:
    """Kill our children; whether there were any."""
    us = str(os.getpid())
    found = False
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent ...: a name may hold spaces and brackets
            parent = status.read_text().rpartition(")")[2].split()[1]
            if parent == us:
                found = True
                orphan = int(status.parent.name)
                os.kill(orphan, signal.SIGKILL)
                reaped(orphan, 1.0)
        except OSError:
            continue
    return found


def stop(server: int, signals: list[tuple[int, float]]) -> int:
    """Each signal in turn with its time in seconds, then SIGKILL."""
    for number, wait_s in signals:
        send(server, number)
        code = reaped(server, wait_s)
        if code is not None:
            end_rest(server)
            return code
    send(server, signal.SIGKILL)
    os.waitpid(server, 0)
    end_rest(server)
    return 128 + signal.SIGKILL


def main() -> int:
    spec = json.loads(sys.argv[1])
    starter, guardian = os.getppid(), os.getpid()
    told: list[int] = []

    # A pipe written by the interpreter's signal handler wakes select() at once when the server ends.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: told.append(signal.SIGTERM))
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    became, failure = os.pipe()  # closes by itself when the program runs
    server = os.fork()
    if server == 0:
        for default in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(default, signal.SIG_DFL)
        try:
            become_server(spec, guardian)
        except OSError as error:
            os.write(failure, f"{spec['argv'][0]}: {error.strerror}".encode())
        os._exit(127)
    os.close(failure)
    # Only now may a signal be sent: before, it would reach this program's copy and be lost.
    reason = os.read(became, 4096).decode()
    try:
        os.write(1, (f"failed {reason}\n" if reason else f"started {server}\n").encode())
    except OSError:  # the starter died in the meantime
        told.append(signal.SIGTERM)
    if reason:
        return 127
    while True:
        ready, _, _ = select.select([0, woken], [], [], LOOK_S)
        if woken in ready:
            os.read(woken, 512)
        code = reaped(server, 0)
        if code is not None:
            end_rest(server)
            return code
        if told or (0 in ready and not os.read(0, 512)) or os.getppid() != starter:
            return stop(server, spec["stop"])
        bound_log(Path(spec["log"]))


if __name__ == "__main__":
    sys.exit(main())
