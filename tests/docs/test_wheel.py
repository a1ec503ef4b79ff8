"""The wheel, as a reader meets it: installed into an empty environment, then the documents' first examples.

`make test-wheel` runs this with the oldest and the newest Python here; SHORT=1 with the oldest only.
"""

import ast
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from hatch_build import addresses, described
from tests.docs.markdown import ROOT, blocks
from tests.docs.test_pages import GUIDES, MAKE, PROBLEMS, READMES
from tests.versions.corners import pythons

FOUND = pythons()
CHOSEN = [min(FOUND)] if os.environ.get("SHORT") else sorted({min(FOUND), max(FOUND)})
EXTRAS = "redis,sqlalchemy,llm,gateway,prometheus"
# Runs blocks of one document each in a namespace of its own; prints the places of those that failed.
RUNNER = """
import ast, asyncio, inspect, json, sys, traceback
async def main():
    failed = []
    for name, source in json.load(sys.stdin):
        code = compile(source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        try:
            result = eval(code, {"__name__": "page"})
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, 60)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(json.dumps(failed))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel() -> Path:
    """What `make wheel` builds, without the developers' environment on the path."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    environment = {**os.environ, "FLUIDO_URL": "https://example.org/owner/name"}
    subprocess.run([MAKE, "wheel"], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    [built] = (ROOT / "dist").glob("fluido-*.whl")
    return built


def pins() -> str:
    """The versions of requirements/dev.txt, without the hashes that pip cannot mix with a wheel of ours."""
    pinned = re.findall(
        r"^([\w.\-\[\]]+==\S+(?: ; [^\\\n]+)?)", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE
    )
    return "\n".join(re.sub(r"\[\w+\]", "", line).strip() for line in pinned)


@pytest.fixture(scope="module", params=CHOSEN, ids=lambda pair: ".".join(map(str, pair)))
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([FOUND[request.param], "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    (folder / "pins.txt").write_text(pins())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python),
        "install",
        "--quiet",
    ]
    subprocess.run([*pip, "-c", str(folder / "pins.txt"), f"{wheel}[{EXTRAS}]", "asyncpg"], check=True)
    return python


def first_blocks(places: Mapping[str, str]) -> list[tuple[str, str]]:
    """The first example of each guide and problem, and all of the README."""
    found = []
    for path in [*READMES, *PROBLEMS, *GUIDES]:
        sources = [block.text for block in blocks(path) if block.language == "python"]
        for number, source in enumerate(sources if path in READMES else sources[:1]):
            for said, meant in places.items():
                source = source.replace(said, meant)  # noqa: PLW2901
            found.append((f"{path.name} {number + 1}", source))
    return found


@pytest.mark.wheel
@pytest.mark.servers
@pytest.mark.anyio
async def test_the_first_example_of_every_page_runs(installed: Path, places: dict[str, str]) -> None:
    wanted = first_blocks(places)
    assert len(wanted) >= 11
    program = await asyncio.create_subprocess_exec(
        str(installed),
        "-c",
        RUNNER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=installed.parents[2],
        env={"PATH": os.environ["PATH"]},
    )
    out, _ = await program.communicate(json.dumps(wanted).encode())
    assert json.loads(out.decode().splitlines()[-1]) == []


@pytest.mark.wheel
def test_it_says_what_is_there_and_what_is_missing(installed: Path) -> None:
    done = subprocess.run([installed, "-m", "fluido"], capture_output=True, text=True, check=True)
    version, *lines = done.stdout.splitlines()
    assert version.startswith("fluido 0.")
    states = dict(line.split(maxsplit=1) for line in lines)
    assert states["redis"].startswith("redis ")
    assert "asyncpg" in states["sqlalchemy"]
    assert "pip install 'fluido[opentelemetry]'" in states["opentelemetry"]


@pytest.mark.wheel
def test_the_command_is_there_with_its_pages(installed: Path, tmp_path: Path) -> None:
    """`fluido gateway` of the wheel: it finds no engine and says what to do, and it has its panel's files."""
    command = installed.with_name("fluido")
    # a port where nobody listens: this machine may have engines of its own
    wrong = [command, "gateway", "doctor", "--engine", "http://127.0.0.1:9", "--url", "http://127.0.0.1:9"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Start it, or name another with --engine" in done.stdout
    made = [command, "gateway", "key", "new", "ana"]
    key = subprocess.run(made, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()
    assert key.startswith("fluido-")
    assert key not in (tmp_path / "fluido-keys.toml").read_text()
    panel = "files('fluido.gateway') / 'web' / 'panel.js'"
    source = f"from importlib.resources import files; print(({panel}).is_file())"
    found = subprocess.run([installed, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"


@pytest.mark.wheel
def test_its_metadata_is_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata] = [archive.read(name).decode() for name in names if name.endswith("METADATA")]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fluido"}
    assert "fluido/py.typed" in names
    for wanted in (
        "Author: Sentinel",
        "Python :: 3.14",
        "Project-URL: Issues, https://example.org/owner/name/issues",
    ):
        assert wanted in metadata
    readme = metadata.partition("\n\n")[2]
    targets = re.findall(r"\]\(([^)#]+)\)", readme)
    assert targets
    assert [target for target in targets if not target.startswith("https://example.org/owner/name/")] == []


def test_without_an_address_nothing_points_nowhere() -> None:
    readme = READMES[0].read_text()
    assert re.findall(r"\]\((?!https?:)", described(readme, "")) == []
    assert "docs/postgres.md" in readme
    assert addresses("https://h/o/n")["Changelog"] == "https://h/o/n/blob/HEAD/CHANGELOG.md"


def test_the_version_has_one_source() -> None:
    tree = ast.parse((ROOT / "src/fluido/__init__.py").read_text())
    [value] = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__version__"
    ]
    assert f"fluido-{value}-py3-none-any.whl" in READMES[0].read_text()
