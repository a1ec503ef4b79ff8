"""API keys: who is let in, by which header or path, until when, how often; and what is kept of a key."""

import base64
from pathlib import Path

import pytest

from fluido.gateway._keys import ANYONE, BadKeys, Client, Keys, Unauthorized, new_key
from fluido.llm import Lane


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key.encode()}


def test_without_keys_everybody_is_let_in_and_the_path_is_cleaned() -> None:
    keys = Keys()
    assert keys.who({}, "/api/chat") == (ANYONE, "/api/chat")
    assert keys.who(bearer("ollama"), "/k/anything/api/chat") == (ANYONE, "/api/chat")


def test_a_key_in_every_place_that_clients_can_set(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = new_key(path, "ana", lane="background", weight=2, models=["qwen*"], per_minute=6, admin=True)
    keys = Keys.load(path)
    ana = Client("ana", Lane.BACKGROUND, 2.0, ("qwen*",), 6, True)
    basic = base64.b64encode(f"user:{key}".encode())
    for headers in (
        bearer(key),
        {b"authorization": b"bearer  " + key.encode()},
        {b"authorization": b"Basic " + basic},
        {b"x-api-key": key.encode()},
        {b"api-key": key.encode()},
    ):
        assert keys.who(headers, "/v1/models") == (ana, "/v1/models")
    for path_, rest in ((f"/k/{key}/api/chat", "/api/chat"), (f"/k/{key}", "/"), (f"/k/{key}?a=1", "/?a=1")):
        assert keys.who({}, path_) == (ana, rest)


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, "/api/chat"),
        ({b"authorization": b"Bearer"}, "/api/chat"),
        ({b"authorization": b"Bearer wrong"}, "/api/chat"),
        ({b"authorization": b"Basic !!!"}, "/api/chat"),
        ({b"authorization": b"Digest abc"}, "/api/chat"),
        ({}, "/k/wrong/api/chat"),
        ({}, "/k//api/chat"),
        ({}, "/k/" + "x" * 300 + "/api/chat"),
        ({b"authorization": "Bearer \u00e1".encode("latin-1")}, "/"),
    ],
)
def test_a_key_that_is_not_known_is_refused_without_being_told(
    headers: dict[bytes, bytes], path: str
) -> None:
    keys = Keys([("right", Client("ana"))])
    with pytest.raises(Unauthorized) as refused:
        keys.who(headers, path)
    assert "wrong" not in str(refused.value)
    assert not refused.value.is_known


def test_a_key_in_the_path_counts_before_a_placeholder_in_the_header() -> None:
    """The openai package has to send some key: the one in the address is meant."""
    keys = Keys([("right", Client("ana"))])
    assert keys.who(bearer("ollama"), "/k/right/v1/chat/completions")[0].name == "ana"


def test_only_a_hash_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.toml"
    key = new_key(path, "ana")
    assert key not in path.read_text()
    assert "sha256:" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert key not in repr(Keys.load(path).clients)


def test_a_key_expires(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = new_key(path, "ana", days=1)
    wall = Clock()
    keys = Keys.load(path, wall=wall)
    assert keys.who(bearer(key), "/")[0].name == "ana"
    wall.now_s = 4e9
    with pytest.raises(Unauthorized, match="the key of ana has expired") as refused:
        keys.who(bearer(key), "/")
    assert refused.value.is_known


def test_a_date_lasts_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = new_key(path, "ana")
    path.write_text(path.read_text() + "expires = 2030-06-01\n")
    wall = Clock()
    keys = Keys.load(path, wall=wall)
    wall.now_s = 1906588799  # 2030-06-01 23:59:59 UTC
    assert keys.who(bearer(key), "/")[0].name == "ana"
    wall.now_s += 1
    with pytest.raises(Unauthorized):
        keys.who(bearer(key), "/")


def test_a_rate_is_kept_and_says_when(tmp_path: Path) -> None:
    clock = Clock()
    keys = Keys([("k", client := Client("ana", per_minute=2))], clock=clock)
    assert [keys.take(client), keys.take(client)] == [0.0, 0.0]
    assert keys.take(client) == pytest.approx(30.0)
    clock.now_s += 29.0
    assert keys.take(client) == pytest.approx(1.0)
    clock.now_s += 1.0
    assert keys.take(client) == 0.0
    assert keys.take(Client("bea")) == 0.0


def test_a_changed_file_is_in_force_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.toml", Clock()
    ana = new_key(path, "ana")
    own = "given-at-the-start"
    keys = Keys.load(path, [(own, Client("first"))], clock=clock)
    bea = new_key(path, "bea")
    with pytest.raises(Unauthorized):
        keys.who(bearer(bea), "/")  # not looked at again so soon
    clock.now_s += 2
    assert keys.who(bearer(bea), "/")[0].name == "bea"
    assert keys.who(bearer(own), "/")[0].name == "first"
    for broken in ("[[key]\n", "", 'hello = "x"\n'):
        path.write_text(broken)
        clock.now_s += 2
        assert keys.who(bearer(ana), "/")[0].name == "ana"
        assert "the keys are as they were" in keys.trouble
    path.unlink()
    clock.now_s += 2
    assert keys.who(bearer(ana), "/")[0].name == "ana"
    cleo = new_key(path, "cleo")
    clock.now_s += 2
    assert keys.who(bearer(cleo), "/")[0].name == "cleo"
    assert keys.trouble == ""
    with pytest.raises(Unauthorized):
        keys.who(bearer(ana), "/")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[key]]\nname = "a b"\n', "a key's name is 1 to 64 letters"),
        ('[[key]]\nname = "a"\n', "the key 'a' has no hash: make it with `fluido gateway key new a`"),
        ('[[key]]\nname = "a"\nkey = "x"\n', "keys are kept as hashes"),
        ('[[key]]\nname = "a"\nhash = "md5:1"\n', "sha256: and 64 hexadecimal digits"),
        ('[[key]]\nname = "a"\nlnae = "normal"\n', "did you mean 'lane'?"),
        ('[[key]]\nname = "a"\nlane = "fast"\n', "one of interactive, normal, background"),
        ('[[key]]\nname = "a"\nweight = 0\n', "a number from 0.01 to 1000, not 0"),
        ('[[key]]\nname = "a"\nmodels = "m"\n', "a list of names"),
        ('[[key]]\nname = "a"\nper_minute = -1\n', "a whole number above 0"),
        ('[[key]]\nname = "a"\nexpires = "soon"\n', "a date like 2027-01-31"),
        ("key = 1\n", "nothing but tables [[key]]"),
        ("keys = 1\n", "nothing but tables [[key]], not 'keys'"),
        ("", "holds no key: make one"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(BadKeys) as refused:
        Keys.load(path)
    assert says in str(refused.value)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    new_key(path, "ana")
    before = path.read_text()
    with pytest.raises(BadKeys, match="has a key of 'ana' already"):
        new_key(path, "ana")
    for wrong in ({"lane": "fast"}, {"weight": -1.0}, {"days": 0}, {"per_minute": 0}):
        with pytest.raises(BadKeys):
            new_key(path, "bea", **wrong)  # type: ignore[arg-type]
    assert path.read_text() == before
    path.write_text(before + before)
    with pytest.raises(BadKeys, match="has 2 keys of 'ana'"):
        Keys.load(path)


def test_a_thousand_keys(tmp_path: Path) -> None:
    made = [(f"key-{n}", Client(f"client-{n}")) for n in range(1000)]
    keys = Keys(made)
    assert len(keys) == 1000
    assert all(keys.who(bearer(key), "/")[0] is client for key, client in made)


@pytest.mark.parametrize(
    ("patterns", "model", "may"),
    [
        ((), "anything", True),
        (("qwen3*",), "qwen3:8b", True),
        (("qwen3",), "qwen3:8b", True),
        (("Qwen3:8B",), "qwen3:8b", True),
        (("qwen3:4b",), "qwen3:8b", False),
        (("llama*", "mist*"), "qwen3:8b", False),
    ],
)
def test_a_key_is_for_some_models(patterns: tuple[str, ...], model: str, may: bool) -> None:
    assert Client("ana", models=patterns).may_use(model) is may
