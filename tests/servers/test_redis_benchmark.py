"""`python -m fluido.redis` on a real server."""

import pytest
import redis

from fluido.redis.__main__ import main

pytestmark = pytest.mark.servers


def test_both_clients_are_compared_and_nothing_is_left_behind(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before = client.dbsize()
        assert main([redis_url, "--tasks", "1", "4", "--rounds", "2", "--block-s", "0.02"]) == 0
        assert client.dbsize() == before
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1::3]] == [["1", "redis.asyncio"], ["4", "redis.asyncio"]]
    assert all("times the calls [" in line for line in lines[3::3])


def test_a_server_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redis://127.0.0.1:1/0", "--tasks", "1"]) == 1
    assert "redis://127.0.0.1:1/0 cannot be measured" in capsys.readouterr().err


def test_wrong_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "0"])
    assert "rounds must be at least 1" in capsys.readouterr().err
