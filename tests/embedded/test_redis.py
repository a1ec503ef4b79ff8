"""Redis keeps its data over a restart, wants its password, and a newer server on the PATH wins."""

from pathlib import Path

import pytest
import redis as driver
from redis.backoff import NoBackoff
from redis.retry import Retry

from embedded import redis
from embedded.archive import REQUIREMENTS
from embedded.redis import Redis

pytestmark = pytest.mark.servers


def script(folder: Path, name: str, said: str) -> None:
    place = folder / name
    place.write_text(f"#!/bin/sh\necho '{said}'\n")
    place.chmod(0o755)


def test_data_survives_a_restart_and_a_password_is_asked_for(open_folder: Path) -> None:
    server = Redis(open_folder)
    try:
        server.start()
        with driver.Redis.from_url(server.url()) as link:
            link.set("kept", "1")
        with (
            driver.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(driver.exceptions.AuthenticationError),
        ):
            stranger.get("kept")
        server.stop()
        again = Redis(open_folder)
        again.start()
        try:
            with driver.Redis.from_url(again.url()) as link:
                assert link.get("kept") == b"1"
                assert link.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        finally:
            again.stop()
    finally:
        server.stop()


def test_an_open_server_is_for_tests(open_folder: Path) -> None:
    server = Redis(open_folder, password="", settings={"save": ""})
    try:
        server.start()
        with driver.Redis(port=server.port) as link:
            assert link.ping()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("name", "said", "wins"),
    [
        ("valkey-server", "Valkey server v=8.1.0 sha=0", True),
        ("redis-server", "Redis server v=7.4.1 sha=0", True),
        ("redis-server", "Redis server v=5.0.7 sha=0", False),
        ("redis-server", "cannot load a library", False),
    ],
)
def test_a_newer_server_on_the_path_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str, wins: bool
) -> None:
    script(tmp_path, name, said)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(redis, "unpacked", lambda *_, **__: Path("/ours"))
    assert redis.program() == (tmp_path / name if wins else Path("/ours/redis-server"))


def test_every_platform_that_has_a_wheel_is_named() -> None:
    pins = (REQUIREMENTS / "redis-server.txt").read_text()
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")):
        package, version, member = redis.wheel(system, machine)
        assert f"{package}=={version}" in pins
        assert member.endswith("/bin/redis-server")
    assert redis.wheel("linux", "x86_64")[0] != redis.wheel("linux", "aarch64")[0]


def test_a_value_is_quoted_for_the_configuration() -> None:
    assert redis.quoted('a "b" \\c') == '"a \\"b\\" \\\\c"'
