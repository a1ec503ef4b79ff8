"""What the environment may say."""

import pytest
from pydantic import ValidationError

from app.core.logs import configure
from app.core.settings import Settings


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
    ],
)
def test_usual_database_addresses_are_taken(given: str, used: str) -> None:
    assert Settings(database_url=given).database_url == used


def test_another_database_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValidationError, match="must start with postgresql://, not mysql://"):
        Settings(database_url="mysql://h/d")


def test_a_missing_database_says_how_to_get_one() -> None:
    with pytest.raises(ValueError, match="make run"):
        Settings(database_url=None).required_database_url()


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.setenv("OLLAMA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SENTINEL_API_KEYS", "a, b ,")
    settings = Settings()
    assert (settings.port, settings.ollama_url) == (8123, "http://127.0.0.1:1")
    assert [key.get_secret_value() for key in settings.api_keys] == ["a", "b"]
    assert "a" not in repr(settings.api_keys)


def test_settings_are_sealed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 9


def test_an_unknown_log_level_is_named() -> None:
    with pytest.raises(ValueError, match="'LOUD'"):
        configure("LOUD")


def test_a_replica_knows_its_part_and_its_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_REPLICAS", "4")
    monkeypatch.setenv("SENTINEL_ANNOUNCE_S", "1.5")
    settings = Settings()
    assert (settings.replicas, settings.announce_s, settings.drain_s) == (4, 1.5, 20.0)
