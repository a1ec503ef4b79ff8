"""What lies on the disk of an embedded server may be damaged (service.md 11, 16 and the small ones)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import embedded
from embedded.patroni import Group
from embedded.process import end_leftover

pytestmark = pytest.mark.servers

BACKEND = Path(__file__).parents[2] / "backend"


@pytest.mark.parametrize("snapshot", [b"garbage", b"REDIS9999\xfa", b""])
def test_a_snapshot_that_cannot_be_loaded_is_set_aside(tmp_path: Path, snapshot: bytes) -> None:
    server = embedded.Redis(tmp_path)
    server.folder.mkdir(parents=True)
    (server.folder / "dump.rdb").write_bytes(snapshot)
    try:
        server.start()
        with redis.Redis.from_url(server.url()) as link:
            assert link.dbsize() == 0
            link.set("k", "v")
        server.stop()
        if snapshot:
            assert (server.folder / "dump.damaged").read_bytes() == snapshot
            assert "starts empty" in server.log.read_text()
        server.start()
        with redis.Redis.from_url(server.url()) as link:
            assert link.get("k") == b"v"
    finally:
        server.stop()


@pytest.mark.parametrize(
    "noted", [{"a": 1}, [1, 2], [[1]], [["x", "y"]], "text", None, 7, [[-1, 0.0]], [[2**70, 1.0]]]
)
def test_a_foreign_run_file_names_no_process(tmp_path: Path, noted: object) -> None:
    run_file = tmp_path / "redis.json"
    run_file.write_text(json.dumps(noted))
    end_leftover(run_file, patience_s=0.0)


def test_a_missing_password_file_is_a_sentence(tmp_path: Path) -> None:
    server = embedded.Postgres(tmp_path)
    with pytest.raises(
        embedded.GroundError, match=r"password of the embedded PostgreSQL .* Put the file back"
    ):
        _ = server.password


def test_patroni_and_raft_ask_for_secrets() -> None:
    one, other = Group((1, 2, 3)), Group((1, 2, 3))
    raft = one.raft(1, Path("/x"))
    assert raft["password"] == one.raft_secret
    assert len({one.raft_secret, one.rest_secret, one.password, other.raft_secret}) == 4
    text = (BACKEND.parent / "deploy" / "patroni.yml").read_text()
    rest, raft_part = text.split("restapi:")[1].split("raft:")
    assert "authentication:" in rest
    assert "password:" in raft_part.split("bootstrap:")[0]
    assert "timeout http-request" in (BACKEND.parent / "deploy" / "haproxy.cfg").read_text()


@pytest.mark.parametrize("after_s", [0.1, 0.7])
def test_ctrl_c_while_it_is_imported_shows_no_traceback(after_s: float) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "app", "serve"],
        cwd=BACKEND,
        env={**os.environ, "DATABASE_URL": "postgresql://u@127.0.0.1:9/x", "PORT": "18473"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    time.sleep(after_s)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=30)
    assert b"Traceback" not in said


def test_a_wrong_log_level_is_told_before_anything_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=BACKEND,
        env={**os.environ, "SENTINEL_LOG_LEVEL": "loud"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "SENTINEL_LOG_LEVEL must be one of" in done.stderr
    assert "Traceback" not in done.stderr
