"""What the documents promise: every block runs, every link leads somewhere, pages stay short."""

import ast
import asyncio
import contextlib
import inspect
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import ROOT, Block, anchors, blocks, links, prose

DOCS = ROOT / "docs"
PROBLEMS = sorted((DOCS / "problems").glob("*.md"))
READMES = [ROOT / "README.md", ROOT / "README.es.md"]
GUIDES = [DOCS / name for name in ("postgres.md", "redis.md", "llm.md", "limiter.md", "architecture.md")]
RUN = [*READMES, *PROBLEMS, *GUIDES]
OTHERS = [DOCS / f"{name}.md" for name in ("operations", "laws", "simulator", "metrics", "doctor", "gateway")]
OURS = [
    DOCS / "examples.md",
    *OTHERS,
    *RUN,
    *sorted((DOCS / "results").rglob("*.md")),
    *sorted((DOCS / "gateway").glob("*.md")),
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
]
MAKE = shutil.which("make") or "make"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.servers
@pytest.mark.anyio
@pytest.mark.parametrize("path", RUN, ids=name_of)
async def test_every_block_of_python_runs(path: Path, places: dict[str, str]) -> None:
    """In order, in one namespace, as a reader would paste them into `python -m asyncio`."""
    names: dict[str, Any] = {"__name__": "page", **await surroundings(path, places)}
    printed = io.StringIO()
    try:
        async with asyncio.timeout(60):
            for block in blocks(path):
                if block.language == "python":
                    await run(path, block, names, places, printed)
    finally:
        await leave(names)


async def run(
    path: Path, block: Block, names: dict[str, Any], places: dict[str, str], out: io.StringIO
) -> None:
    source = block.text
    for said, meant in places.items():
        source = source.replace(said, meant)
    code = compile(
        "\n" * (block.line - 1) + source, name_of(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    )
    with contextlib.redirect_stdout(out):
        result = eval(code, names)  # noqa: S307  the documents of this repository
        if inspect.isawaitable(result):
            await result


async def surroundings(path: Path, places: dict[str, str]) -> dict[str, Any]:
    """What a guide takes for granted, as its text says: tables and a query of the reader's own."""
    if path.name != "postgres.md":
        return {}
    from sqlalchemy import Column, Integer, MetaData, String, Table, text  # noqa: PLC0415

    from fluido.sqlalchemy import create_async_engine  # noqa: PLC0415

    metadata = MetaData()
    tables = {
        name: Table(
            name,
            metadata,
            Column("id", Integer, primary_key=True),
            Column("token", String, unique=True),
            Column("body", String),
        )
        for name in ("messages", "notes")
    }
    primary = create_async_engine(places["postgresql+asyncpg://user:secret@localhost/app"])
    async with primary.begin() as connection:
        await connection.run_sync(metadata.create_all)
    # A standby that is none: reads go to the primary, as where no standby is recent.
    return {**tables, "query": text("SELECT 1 AS n"), "token": "a", "primary": primary, "standby": primary}


async def leave(names: dict[str, Any]) -> None:
    """Close what the blocks opened and left open, in the order that the guides name."""
    for kind, method in (
        ("GroupWriter", "close"),
        ("Dispatcher", "close"),
        ("Redis", "aclose"),
        ("AsyncEngine", "dispose"),
    ):
        for value in list(names.values()):
            if type(value).__name__ == kind:
                await getattr(value, method)()


@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_every_line_of_a_shell_block_exists(path: Path) -> None:
    """Targets of make, modules and files; what pip installs is tried by test_wheel.py."""
    for block in blocks(path):
        assert block.language in {"python", "sh", "text", "mermaid"}, (
            f"{name_of(path)}:{block.line} says no language"
        )
        if block.language != "sh":
            continue
        for line in block.text.splitlines():
            words = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line.split("  #")[0]).split()
            match words:
                case ["make", target, *_]:
                    done = subprocess.run([MAKE, "-n", target], cwd=ROOT, capture_output=True, check=False)
                    assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
                case ["python", "-m", module, *_]:
                    assert module.split(".")[0] in {"fluido", "bench", "app"}, line
                    base = (
                        ROOT
                        / ("src" if module.startswith("fluido") else "backend")
                        / module.replace(".", "/")
                    )
                    assert base.with_suffix(".py").exists() or (base / "__main__.py").exists(), line
                case ["python", file, *_]:
                    assert (ROOT / file).exists(), line
                case ["pip", "install", *_]:
                    assert "fluido-" in line or "'.[" in line, line
                case _:
                    pytest.fail(f"{name_of(path)}:{block.line}: nobody checks {line!r}")


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, anchor in links(path):
        if target == DOCS / "problems" / ".." / "index.md":  # made of the README when the site is built
            target = ROOT / "README.md"  # noqa: PLW2901
        assert target.exists(), f"{name_of(path)} links to {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name_of(path)} links to {target.name}#{anchor}"


def test_pages_are_short() -> None:
    long = {name_of(path): len(path.read_text().splitlines()) for path in [*RUN, *OTHERS]}
    bounds = {name: 150 if name.startswith("README") else 200 for name in long}
    assert {name: lines for name, lines in long.items() if lines > bounds[name]} == {}


@pytest.mark.parametrize("path", PROBLEMS, ids=name_of)
def test_a_problem_is_found_by_its_error(path: Path) -> None:
    """The heading is the error's own text, which the page repeats as it is printed."""
    heading = path.read_text().splitlines()[0].removeprefix("# ")
    first = blocks(path)[0]
    assert first.language == "text"
    assert " ".join(heading.split()) in " ".join(first.text.split())
    for wanted in (
        "## What it means",
        "## The five-minute cure",
        "## How to see that it worked",
        "## When it does not help",
    ):
        assert wanted in prose(path)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "llm.md",
            "circuit breaker, backpressure, load balancing, health check, concurrency limit, prefix cache",
        ),
        ("architecture.md", "circuit breaker, backpressure, load balancing, health check, connection pool"),
        ("postgres.md", "connection pool, concurrency limit, backpressure, QueuePool"),
        ("redis.md", "connection, Too many connections, pipelines"),
    ],
)
def test_a_search_finds_what_is_there(page: str, words: str) -> None:
    text = " ".join((DOCS / page).read_text().split()).lower()
    assert [word for word in words.split(", ") if word.lower() not in text] == []


def test_every_example_is_on_the_page_of_examples() -> None:
    page = {target.resolve() for target, _ in links(DOCS / "examples.md")}
    assert page == set((ROOT / "examples").glob("*.py"))


def test_both_readmes_show_the_same() -> None:
    """The same blocks, links, pictures and rows; only the words differ."""
    english, spanish = READMES
    said = re.compile(r'#.*|"content": "[^"]*"')  # comments and the question are in the reader's language
    assert [said.sub("", block.text) for block in blocks(english)] == [
        said.sub("", block.text) for block in blocks(spanish)
    ]
    targets = [{target.resolve() for target, _ in links(path)} - set(READMES) for path in READMES]
    assert targets[0] == targets[1]
    assert prose(english).count("\n|") == prose(spanish).count("\n|")
    assert prose(english).count("\n#") == prose(spanish).count("\n#")


def test_stock_says_what_the_headings_say() -> None:
    """The error of the stock libraries, raised: the page must be found by whoever sees it."""
    code = (
        "import asyncio, redis.asyncio as r\n"
        "p = r.ConnectionPool(max_connections=1); p._in_use_connections.add(object())\n"
        "try: asyncio.run(p.get_connection())\n"
        "except Exception as e: print(type(e).__module__ + '.' + type(e).__name__ + ': ' + str(e))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert (DOCS / "problems" / "redis-too-many-connections.md").read_text().startswith(f"# {said}\n")
