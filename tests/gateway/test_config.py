"""Configuration: a file and flags say the same, and what cannot be used is named with what was meant."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from fluido.gateway import _cli as cli
from fluido.gateway._config import _READERS, BadConfig, Config, EngineUrl, configured, settings_of
from fluido.gateway._keys import Client, Keys, new_key

FILE = """
engine = ["http://gpu:11434/api", { url = "10.0.0.9:8000/v1", name = "vllm", key = "s3cret", slots = 8 }]
listen = "127.0.0.2"
port = 4000
observe = true
wishes = "planned"
most_context_tokens = 32768
manage = true
answer_tokens = 2000
wait_s = 30
away_s = 0
heartbeat_s = 5.5
max_waiting = 9
max_body_bytes = 1000
max_waiting_bytes = 2000
max_connections = 77
origins = ["https://page.example"]
keys = "keys.toml"
[aliases]
"gpt-4o" = "qwen3:8b"
"""


def test_every_setting_of_a_file_arrives(tmp_path: Path) -> None:
    new_key(tmp_path / "keys.toml", "ana")
    path = tmp_path / "gateway.toml"
    path.write_text(FILE)
    given = settings_of(path)
    assert given.keys() == _READERS.keys()  # the file above names all there are
    config = configured(given, folder=tmp_path)
    ollama, vllm = config.engines
    assert (ollama.url, ollama.api) == ("http://gpu:11434", "")
    assert (vllm.url, vllm.name, vllm.slots) == ("http://10.0.0.9:8000", "vllm", 8)
    assert vllm.headers == {"Authorization": "Bearer s3cret"}
    assert [client.name for client in config.keys.clients] == ["ana"]
    defaults = Config()
    for each in fields(Config):
        assert getattr(config, each.name) != getattr(defaults, each.name), each.name


def test_no_secret_is_shown() -> None:
    config = configured({"engine": ["http://user:pa55@gpu:11434", "http://:k3y@b:8000"]})
    assert [e.url for e in config.engines] == ["http://gpu:11434", "http://b:8000"]
    assert config.engines[1].headers == {"Authorization": "Bearer k3y"}
    assert "pa55" not in repr(config)
    assert "k3y" not in repr(config)


def test_an_engine_in_one_text() -> None:
    (engine,) = configured({"engine": ["gpu:1,slots=4,window=8192,api=openai,name=big,key=abc"]}).engines
    assert engine == EngineUrl("http://gpu:1", "openai", "big", {"Authorization": "Bearer abc"}, 4, 8192)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prot": 1}, "there is no setting 'prot': did you mean 'port'?"),
        ({"engines": ["x"]}, "did you mean 'engine'?"),
        ({"zzz": 1}, "there are: "),
        (
            {"engine": {"url": "gpu:1", "slot": 2}},
            "no setting of an engine 'slot': did you mean 'slots'?",
        ),
        ({"engine": "gpu:1,slots=many"}, "engine.slots is a whole number, not 'many'"),
        ({"engine": "gpu:1,slots=0"}, "slots is at least 1, not 0"),
        ({"engine": {"api": "ollama"}}, "a table with url"),
        ({"engine": 5}, "is an address like http://127.0.0.1:11434"),
        ({"engine": "ftp://gpu"}, "begins with http:// or https://"),
        ({"engine": "gpu:1,api=claude"}, "is ollama or openai, not 'claude'"),
        ({"port": "80"}, "port is a whole number, not '80'"),
        ({"port": 70000}, "from 1 to 65535, not 70000"),
        ({"observe": 1}, "observe is true or false, not 1"),
        ({"wishes": "stric"}, "wishes is one of resident, strict, planned, passthrough, not 'stric'"),
        ({"wait_s": 0}, "wait_s is above 0, not 0"),
        ({"away_s": -1}, "away_s is 0 or more seconds, not -1"),
        ({"wait_s": "soon"}, "wait_s is a number of seconds"),
        ({"answer_tokens": 0}, "answer_tokens is at least 1, not 0"),
        ({"aliases": ["a=b"]}, "aliases is a table"),
        ({"aliases": {"a": 1}}, "aliases.a is a text, not 1"),
        ({"origins": "x"}, "origins is a list of texts, not 'x'"),
        ({"listen": "0.0.0.0"}, "make a key first"),
        ({"listen": "::"}, "make a key first"),
        ({"listen": "box.lan"}, "make a key first"),
        ({"engine": "http://localhost:11435"}, "is this gateway itself"),
        ({"engine": "http://127.0.0.1:7", "port": 7}, "is this gateway itself"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, object], says: str) -> None:
    with pytest.raises(BadConfig) as refused:
        configured(given)
    assert says in str(refused.value)


def test_a_public_address_with_a_key_is_taken() -> None:
    config = configured({"listen": "0.0.0.0"}, more_keys=[("secret", Client("ana"))])
    assert config.url == "http://127.0.0.1:11435"
    assert Config(listen="::1").url == "http://[::1]:11435"
    with pytest.raises(BadConfig, match="make a key first"):
        Config(listen="192.168.0.4", keys=Keys())


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text("port = \n")
    with pytest.raises(BadConfig, match=r"is not TOML: .*line 1"):
        settings_of(path)
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        settings_of(tmp_path / "missing.toml")


def test_everything_has_a_flag() -> None:
    flags = set(inspect.signature(cli.gateway).parameters)
    assert _READERS.keys() - flags == {"aliases", "origins"}
    assert {"alias", "origin"} <= flags
