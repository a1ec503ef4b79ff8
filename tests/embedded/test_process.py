"""Servers end when they are told to, when their starter dies and when their guardian dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from embedded import guardian
from embedded.errors import GroundError
from embedded.process import Child, Command, end_leftover, record

SERVE = "import time\nprint('serving', flush=True)\nwhile True: time.sleep(60)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
# A starter of its own that can be killed: starts a server, tells the pids, waits.
STARTER = """
import sys, time
from pathlib import Path
from embedded.process import Child, Command
folder = Path(sys.argv[1])
child = Child(Command("server", (sys.executable, "-c", sys.argv[2]), folder, folder / "log", folder / "run"))
child.start()
child.wait_until(lambda: "serving" in child.tail(), 20)
print((folder / "run").read_text(), flush=True)
if len(sys.argv) > 3:
    import os
    if os.fork() == 0:
        print("forked", os.getpid(), flush=True)
time.sleep(60)
"""


def command(folder: Path, code: str, *, stop_s: float = 5.0) -> Command:
    return Command(
        "The server",
        (sys.executable, "-c", code),
        folder,
        folder / "log",
        folder / "run",
        stop=((signal.SIGTERM, stop_s),),
    )


def serving(folder: Path, code: str = SERVE, *, stop_s: float = 5.0) -> Child:
    child = Child(command(folder, code, stop_s=stop_s))
    child.start()
    child.wait_until(lambda: "serving" in child.tail(), 20.0)
    return child


def gone(pids: list[int], wait_s: float = 10.0) -> bool:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return not psutil.wait_procs(processes, timeout=wait_s)[1]


def noted(text: str) -> list[int]:
    return [pid for pid, _ in json.loads(text)]


def test_start_and_stop_leave_nothing(tmp_path: Path) -> None:
    child = serving(tmp_path)
    pids = noted((tmp_path / "run").read_text())
    assert child.running
    assert child.pid in pids
    child.stop()
    child.stop()
    assert not child.running
    assert gone(pids, 0.1)
    assert not (tmp_path / "run").exists()


def test_a_server_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    child = serving(tmp_path, DEAF, stop_s=0.1)
    pids = noted((tmp_path / "run").read_text())
    child.stop()
    assert gone(pids, 0.1)


def test_a_server_that_ends_at_start_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an older run said this\n")
    child = Child(command(tmp_path, "import sys; print('no such option'); sys.exit(3)"))
    child.start()
    with pytest.raises(GroundError, match=r"(?s)exit code 3.*log says:\n  no such option") as raised:
        child.wait_until(lambda: False, 20.0)
    assert "older" not in str(raised.value)
    child.stop()


def test_a_server_that_never_answers_is_reported_in_time(tmp_path: Path) -> None:
    times = iter([0.0, 1.0, 31.0])
    child = Child(command(tmp_path, SERVE), clock=lambda: next(times))
    child.start()
    try:
        with pytest.raises(GroundError, match="did not answer within 30 s"):
            child.wait_until(lambda: False, 30.0)
    finally:
        child.stop()


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    child = Child(Command("The server", ("/no/such/program",), tmp_path, tmp_path / "log", tmp_path / "run"))
    with pytest.raises(GroundError, match="could not be started: /no/such/program: No such file"):
        child.start()
    assert not child.running
    child.stop()


def test_stop_ends_a_start_that_waits(tmp_path: Path) -> None:
    child = Child(command(tmp_path, SERVE))
    child.start()
    told = threading.Event()
    told.set()
    with pytest.raises(GroundError, match="told to stop"):
        child.wait_until(lambda: False, 20.0, given_up=told)
    child.stop()


@pytest.mark.parametrize("forks", [False, True], ids=["alone", "with a fork that holds the pipe"])
def test_nothing_outlives_a_starter_that_was_killed(tmp_path: Path, forks: bool) -> None:
    arguments = [sys.executable, "-c", STARTER, str(tmp_path), SERVE, *(["fork"] if forks else [])]
    source = str(Path(guardian.__file__).parents[1])
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": source}
    ) as starter:
        assert starter.stdout is not None
        pids = noted(starter.stdout.readline())
        fork = int(starter.stdout.readline().split()[1]) if forks else None
        starter.kill()
        try:
            assert gone(pids)
        finally:
            if fork is not None:
                os.kill(fork, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_server_does_not_outlive_its_guardian(tmp_path: Path) -> None:
    child = serving(tmp_path)
    first, second = noted((tmp_path / "run").read_text())
    assert second == child.pid
    os.kill(first, signal.SIGKILL)
    assert gone([second])
    child.stop()


def test_the_next_start_ends_what_was_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DEAF]) as left:
        record(tmp_path / "run", left.pid)
        end_leftover(tmp_path / "run", patience_s=0.0)
        assert not psutil.pid_exists(left.pid)
    assert not (tmp_path / "run").exists()


def test_a_number_that_a_stranger_carries_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.DEVNULL) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        (tmp_path / "run").write_text(json.dumps([[stranger.pid, started - 100.0]]))
        end_leftover(tmp_path / "run", patience_s=0.0)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "[[1", "{}"])
def test_a_damaged_note_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").write_text(text)
    end_leftover(tmp_path / "run", patience_s=0.0)


def test_a_log_is_bounded_and_its_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian, "LOG_BYTES_MAX", 100)
    monkeypatch.setattr(guardian, "LOG_BYTES_KEPT", 10)
    log = tmp_path / "log"
    log.write_text("x" * 100)
    guardian.bound_log(log)
    assert log.stat().st_size == 100
    log.write_text("x" * 100 + "0123456789")
    guardian.bound_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "log.1").read_text() == "0123456789"


def test_secrets_of_the_shell_do_not_reach_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    child = serving(tmp_path, "import os\nprint(sorted(os.environ), flush=True)\n" + SERVE)
    assert "SOME_API_KEY" not in child.tail()
    assert "PATH" in child.tail()
    child.stop()
