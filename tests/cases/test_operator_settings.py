"""The settings: each is explained in the guide, a wrong one is a sentence, a misspelt one is noticed."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import fluido
from app.__main__ import cli
from app.core import explained as explained_module
from app.core.explained import explained, names_of, table, troubles, unknown
from app.core.settings import Settings

GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        for name in names_of(field):
            monkeypatch.delenv(name, raising=False)


def test_the_guide_has_every_setting_as_it_is() -> None:
    """Run `python -m app settings --markdown` and put it there."""
    assert table() in GUIDE.read_text()


def test_every_setting_says_what_it_means() -> None:
    for field, info in Settings.model_fields.items():
        assert info.description, field
        assert info.description.endswith("."), field


def test_values_say_where_they_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SENTINEL_DRAIN_S=7\nSENTINEL_REPLICAS=2\n")
    monkeypatch.setattr(explained_module, "ENV_FILES", (tmp_path / "none", file))
    monkeypatch.setitem(Settings.model_config, "env_file", (file,))
    monkeypatch.setenv("SENTINEL_REPLICAS", "3")
    monkeypatch.setenv("HOST", "127.0.0.9")
    rows = {row.name: row for row in explained(Settings())}
    assert (rows["SENTINEL_DRAIN_S"].value, rows["SENTINEL_DRAIN_S"].source) == ("7", str(file))
    assert (rows["SENTINEL_REPLICAS"].value, rows["SENTINEL_REPLICAS"].source) == ("3", "environment")
    assert (rows["HOST"].value, rows["HOST"].source) == ("127.0.0.9", "environment")
    assert (rows["SENTINEL_BODY_S"].value, rows["SENTINEL_BODY_S"].source) == ("30", "default")


def test_our_own_name_wins_over_the_one_that_shells_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "my-machine")
    monkeypatch.setenv("SENTINEL_HOST", "127.0.0.2")
    assert Settings().host == "127.0.0.2"


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://ann:hush1@h/d?password=hush2",
        "REDIS_URL": "redis://:hush3@h/0",
        "OPENAI_URL": "http://:hush4@a,http://b:hush5@c",
        "OPENAI_API_KEY": "hush6",
        "SENTINEL_ENGINE_HEADERS": '{"X-Key": "hush7"}',
        "SENTINEL_API_KEYS": "hush8,hush9",
        "SENTINEL_TENANT_KEYS": "acme:hush10",
    }.items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(cli, ["settings"])
    assert answer.exit_code == 0
    assert "hush" not in answer.output
    assert "ann" not in answer.output
    assert "@" not in answer.output.replace("password@host", "").replace("key@host", "")


def test_a_misspelt_setting_is_told_with_the_near_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unknown({"SENTINEL_MODLE": "x", "SENTINEL_MODEL": "y", "PATH": "z"}) == [
        "SENTINEL_MODLE is not a setting and changes nothing: did you mean SENTINEL_MODEL?"
    ]
    assert "lists them" in unknown({"SENTINEL_COLOUR": "blue"})[0]
    monkeypatch.setenv("SENTINEL_MODLE", "x")
    assert "did you mean SENTINEL_MODEL?" in CliRunner().invoke(cli, ["settings"]).output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "abc", r"^PORT=abc cannot be used: .*integer"),
        ("SENTINEL_DRAIN_S", "-1", r"^SENTINEL_DRAIN_S=-1 cannot be used: .*greater"),
        ("SENTINEL_TRACES", "perhaps", r"^SENTINEL_TRACES=perhaps cannot be used: .*boolean"),
        ("SENTINEL_LOG_LEVEL", "loud", r"^SENTINEL_LOG_LEVEL must be one of .*'loud'\.$"),
        ("SENTINEL_KEEP_ALIVE", "ever", r"^SENTINEL_KEEP_ALIVE=ever cannot be used"),
        ("SENTINEL_TENANT_KEYS", "nobody", r"^SENTINEL_TENANT_KEYS takes"),
        ("SENTINEL_ENGINE_HEADERS", "X-Team=blue", r"^SENTINEL_ENGINE_HEADERS must be JSON"),
        ("DATABASE_URL", "mysql://u:hush@h/d", r"^DATABASE_URL must start with postgresql://"),
        ("HOST", "0.0.0.0", r"^Sentinel refuses to listen on 0\.0\.0\.0 without a key"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(cli, ["settings"])
    assert answer.exit_code == 2
    assert re.search(said, answer.output.strip()), answer.output
    assert len(answer.output.strip().splitlines()) == 1
    assert "hush" not in answer.output


def test_no_wrong_value_of_a_secret_is_repeated() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(openai_api_key=["hush"])  # type: ignore[arg-type]
    assert all("hush" not in sentence for sentence in troubles(refused.value))


def test_the_version_and_the_address_are_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_PORT", "1")  # so that it is put back
    monkeypatch.setenv("SENTINEL_HOST", "127.0.0.1")
    assert fluido.__version__ in CliRunner().invoke(cli, ["--version"]).output
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    # an address that nobody has: it is tried, and told, before anything is started
    answer = CliRunner().invoke(cli, ["serve", "--host", "127.0.0.1", "--port", "70000"])
    assert answer.exit_code == 2
    answer = CliRunner().invoke(cli, ["serve", "--host", "0.0.0.0", "--port", "8"])
    assert "refuses to listen on 0.0.0.0" in answer.output
