"""PostgreSQL starts over whatever a killed run left, and keeps its data."""

import os
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from embedded import account, postgres
from embedded.errors import GroundError
from embedded.postgres import Postgres

pytestmark = pytest.mark.servers


def ask(server: Postgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(driver=""), autocommit=True) as link:
        cursor = link.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_data_survives_a_stop_a_kill_and_a_stale_note(open_folder: Path) -> None:
    # a kill loses nothing that was written: only a power cut would need the disk to be waited for
    server = Postgres(open_folder, durable=False)
    try:
        server.start()
        ask(server, "CREATE TABLE kept AS SELECT 1 AS n")
        server.stop()

        # a note with the number of a living stranger, as after a reboot of a container
        (server.folder / "postmaster.pid").write_text(f"{os.getppid()}\n{server.folder}\n")
        server.start()
        port = server.port
        assert ask(server, "SELECT n FROM kept") == [(1,)]

        # a backend outlives the killed postmaster because it is busy
        with psycopg.connect(server.url(driver="")) as busy:
            backend = psutil.Process(busy.info.backend_pid)
            backend.suspend()
            assert server.child is not None
            server.child.kill()
            assert not server.running
            assert sys.platform != "linux" or not backend.is_running()
            server.start()
        assert server.port == port
        assert ask(server, "SELECT n FROM kept") == [(1,)]
    finally:
        server.stop()
        server.forget()
    assert not server.folder.exists()


def test_a_first_start_asks_for_the_password_and_listens_on_loopback_only(open_folder: Path) -> None:
    half_made = open_folder / ".postgres.part-killed"
    (half_made / "base").mkdir(parents=True)
    server = Postgres(open_folder, durable=False)
    try:
        server.start()
        assert not half_made.exists()
        assert ask(server, "SELECT current_database(), current_user") == [("sentinel", "sentinel")]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(driver="").replace(server.password, "wrong"))
        assert server.child is not None
        assert server.password not in " ".join(psutil.Process(server.child.pid).cmdline())
        listening = [
            link.laddr.ip
            for link in psutil.net_connections("inet")
            if link.pid == server.child.pid and link.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]
    finally:
        server.stop()


def test_a_missing_wheel_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(GroundError, match=r"is not installed .* give DATABASE_URL of your own"):
        postgres.program()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to work under another account")
def test_root_may_keep_its_data_folder_to_itself(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "OPEN_GROUND", open_folder)
    tmp_path.chmod(0o700)
    server = Postgres(tmp_path, durable=False)
    try:
        server.start()
        assert server.folder.is_relative_to(open_folder)
        assert ask(server, "SELECT 1") == [(1,)]
    finally:
        server.stop()
        server.forget()
    assert not list(open_folder.glob("data-*"))
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_what_the_system_refuses_is_one_sentence(open_folder: Path) -> None:
    (open_folder / "log").write_text("a file where the folder of logs should be")
    with pytest.raises(GroundError, match=r"PostgreSQL cannot start: .*File exists"):
        Postgres(open_folder).start()
