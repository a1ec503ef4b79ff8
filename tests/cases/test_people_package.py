"""people.md 10, 13, 16, 18 to 20: what a person sees of the package before the first line of code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

import fluido
from fluido.llm import Call, CallRejected, Message, Options

ROOT = Path(__file__).parents[2]


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> ProjectMetadata[PluginManager]:
    monkeypatch.setenv("FLUIDO_URL", "https://example.org/owner/name/")
    found = ProjectMetadata(str(ROOT), PluginManager())
    found.validate_fields()
    return found


def test_the_package_names_its_authors_and_addresses(metadata: ProjectMetadata[PluginManager]) -> None:
    assert metadata.core.authors == [{"name": "Sentinel Fluido contributors"}]
    assert metadata.version == fluido.__version__
    assert set(metadata.core.urls) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith("https://example.org/owner/name") for url in metadata.core.urls.values())
    assert not re.findall(r"\]\((?!https?:)", metadata.core.readme)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUIDO_URL", "owner/name")
    with pytest.raises(ValueError, match=r"FLUIDO_URL=owner/name is no address: give https://"):
        ProjectMetadata(str(ROOT), PluginManager()).validate_fields()


def test_every_python_that_is_promised_is_looked_for(metadata: ProjectMetadata[PluginManager]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(metadata.core.classifiers))
    assert promised == ["3.11", "3.12", "3.13", "3.14"]
    assert all(f"python{version}" in makefile for version in promised)
    assert f"(3, {promised[-1].split('.')[1]})" in makefile


def test_python_m_fluido_tells_versions_and_what_is_missing() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'hiredis' else find(name, *a)\n"
        "import runpy; runpy.run_module('fluido', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    assert first.startswith(
        f"fluido {fluido.__version__}, Python {sys.version_info[0]}.{sys.version_info[1]}"
    )
    states = dict(line.split(maxsplit=1) for line in lines)
    assert states["redis"] == "not installed: fluido's redis part needs hiredis: pip install 'fluido[redis]'"
    assert states["sqlalchemy"].startswith("sqlalchemy 2.")


@pytest.mark.parametrize(
    "name",
    [
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        ".editorconfig",
        ".pre-commit-config.yaml",
        "mkdocs.yml",
        ".github/pull_request_template.md",
        ".github/ISSUE_TEMPLATE/bug.yml",
        "examples/chat_after.py",
    ],
)
def test_a_contributor_finds(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_the_wheel_does_not_wait_for_the_developers_environment() -> None:
    make = shutil.which("make") or "make"
    done = subprocess.run([make, "-n", "wheel"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "dev.txt" not in done.stdout
    assert "run.txt" not in done.stdout
    assert "-m build" in done.stdout


def test_the_site_asks_no_other_host() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in text
    assert not re.findall(r"https?://", text)
    assert "analytics" not in text


def test_messages_and_options_of_other_clients_are_taken_and_read_as_ours() -> None:
    class Said:
        role = "assistant"
        content = None

    call = Call([{"role": "user", "content": "Hello"}, Said()], options={"max_tokens": 4, "stop": "END"})
    assert call.messages == (Message("user", "Hello"), Message("assistant", ""))
    assert (call.options.num_predict, call.options.stop) == (4, ("END",))
    assert Options(max_tokens=4, stop="END") == call.options
    assert Options(stop=["a", "b"]).stop == ("a", "b")
    with pytest.raises(CallRejected, match="stop must be a text or a list"):
        Options(stop=[1])  # type: ignore[list-item]
