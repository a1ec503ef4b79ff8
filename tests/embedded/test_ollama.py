"""Where there is no Ollama, one sentence says how to get one; the build asks for what it needs."""

from pathlib import Path

import pytest

from embedded import ollama_build
from embedded.errors import GroundError
from embedded.model import Model
from embedded.ollama import VERSION, Ollama, built
from embedded.ollama_build import build, fetch_debian, need_tools, processor_flags

MODEL = Model("thing:1", Path("thing.gguf"), "a thing")


def test_a_missing_ollama_is_one_sentence(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert built() is None
    with pytest.raises(GroundError, match="`make ollama` does it in a few minutes"):
        Ollama(tmp_path, MODEL).prepare()


def test_ours_is_taken_before_theirs(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "ollama"
    theirs.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert built() == theirs
    ours = cache / f"ollama-{VERSION}" / "ollama"
    ours.parent.mkdir(parents=True)
    ours.touch(0o755)
    assert built() == ours
    assert build(print) == ours


def test_a_missing_compiler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GroundError, match=r"needs a C compiler \(`cc` on the PATH\): install it"):
        need_tools()


def test_missing_headers_without_apt_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ollama_build, "INSTALLED", (tmp_path, tmp_path / "local"))
    with pytest.raises(GroundError, match=r"needs stb/stb_image.h, .*Debian's package is libstb-dev"):
        fetch_debian(tmp_path, tmp_path)


def test_headers_that_are_installed_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for header in ollama_build.DEBIAN:
        place = tmp_path / "usr" / header
        place.parent.mkdir(parents=True)
        place.touch()
    include = tmp_path / "include"
    include.mkdir()
    monkeypatch.setattr(ollama_build, "INSTALLED", (tmp_path / "usr",))
    fetch_debian(tmp_path, include)
    assert all((include / header).exists() for header in ollama_build.DEBIAN)


def test_only_what_the_processor_has_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_build.platform, "machine", lambda: "x86_64")
    assert processor_flags("flags\t: fpu avx2 fma f16c bmi2") == "-O3 -mavx2 -mfma -mf16c -mbmi2"
    assert processor_flags("flags\t: fpu sse4_2") == "-O3"
    assert processor_flags("") == "-O3"
    monkeypatch.setattr(ollama_build.platform, "machine", lambda: "arm64")
    assert processor_flags("flags : avx2") == "-O3"
