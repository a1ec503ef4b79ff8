"""The arrows between rooms point one way, files and functions stay small, laws stay pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"fluido": ROOT / "src", "embedded": ROOT / "src", "app": ROOT / "backend", "bench": ROOT / "backend"}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

# Longest prefix wins. A module may import only what its own entry names (and itself).
NOUNS = {"fluido.errors", "fluido.extras", "fluido.sample", "fluido.measure", "fluido.metrics"}
FLOWS = NOUNS | {"fluido.laws", "fluido.flow"}
DROP_INS = {"fluido.redis", "fluido.sqlalchemy", "fluido.llm", "fluido.gateway"}
PRODUCT = FLOWS | DROP_INS | {"fluido", "fluido.asgi", "fluido.telemetry"}
ALLOWED: dict[str, set[str]] = {
    "fluido.errors": set(),
    "fluido.extras": set(),
    "fluido.sample": {"fluido.errors"},
    "fluido.measure": {"fluido.errors", "fluido.sample"},
    "fluido.metrics": {"fluido.errors", "fluido.sample", "fluido.measure"},
    "fluido.laws": NOUNS,
    "fluido.flow": NOUNS | {"fluido.laws"},
    "fluido.redis": FLOWS,
    "fluido.sqlalchemy": FLOWS,
    "fluido.llm": FLOWS,
    "fluido.gateway": FLOWS | {"fluido", "fluido.llm", "fluido.telemetry"},
    "fluido.asgi": FLOWS,
    "fluido.telemetry": FLOWS,
    "fluido.testing": FLOWS,
    "fluido": FLOWS,
    "embedded": set(),
    "app.core": PRODUCT,
    "app.db": PRODUCT | {"app.core"},
    "app.cache": PRODUCT | {"app.core"},
    "app.services": PRODUCT | {"app.core", "app.db", "app.cache"},
    "app.api": PRODUCT | {"app.core", "app.services"},
    "app.doctor": PRODUCT | {"app.core", "app.db"},
    "app.main": PRODUCT | {"app"},
    "app.__main__": PRODUCT | {"app", "embedded"},
    "app": set(),
    "bench.v1": {"app.core", "app.api"},
    "bench": PRODUCT | {"fluido.testing", "app", "embedded"},
}
# A driver is imported in the rooms named here and nowhere else.
DRIVERS = {
    "redis": ("fluido.redis", "bench", "embedded"),
    "hiredis": ("fluido.redis", "bench"),
    "sqlalchemy": ("fluido.sqlalchemy", "app.db", "bench"),
    "asyncpg": ("fluido.sqlalchemy", "bench", "embedded"),
    "psycopg": ("fluido.sqlalchemy", "bench"),
    "aiohttp": ("fluido.llm", "bench"),
    "httptools": ("fluido.gateway", "bench"),
    "msgspec": ("fluido.gateway", "bench"),
    "uvloop": ("fluido.gateway", "app", "bench"),
    "prometheus_client": ("fluido.telemetry", "app.api"),
    "opentelemetry": ("fluido.telemetry", "app.api"),
    "matplotlib": ("fluido.testing", "bench"),
}
IMPURE = {"asyncio", "time", "random", "logging", "secrets", "threading", "socket", "datetime"}


def modules() -> Iterator[tuple[str, Path]]:
    for room, base in ROOMS.items():
        for path in sorted((base / room).rglob("*.py")):
            if "migrations" not in path.parts:
                parts = path.relative_to(base).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name: str, path: Path) -> Iterator[str]:
    """Every module that `path` imports, at any depth: a lazy import is an arrow too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(filter(None, [*parents[: len(parents) - node.level + 1], base]))
            # `from app.core import ports` is an arrow to app.core.ports
            yield from (f"{base}.{alias.name}" for alias in node.names)


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str:
    return max((room for room in ALLOWED if inside(module, room)), key=len)


MODULES = list(modules())
IDS = [name for name, _ in MODULES]


@pytest.mark.parametrize(("name", "path"), MODULES, ids=IDS)
def test_arrows_point_one_way(name: str, path: Path) -> None:
    room = room_of(name)
    wrong = []
    for target in imports(name, path):
        if target.split(".")[0] not in ROOMS:
            continue
        allowed = ALLOWED[room] | {room}
        target_room = room_of(target)
        # A bare package on the list ("fluido", "app") opens its own door, not all of its rooms.
        if target_room not in allowed and not any(
            inside(target_room, a) for a in allowed if a in {"app", room}
        ):
            wrong.append(f"{name} -> {target}")
    assert not wrong


@pytest.mark.parametrize(("name", "path"), MODULES, ids=IDS)
def test_drivers_stay_in_their_room(name: str, path: Path) -> None:
    for target in imports(name, path):
        owners = DRIVERS.get(target.split(".")[0])
        assert owners is None or any(inside(name, owner) for owner in owners), f"{name} imports {target}"


@pytest.mark.parametrize(("name", "path"), MODULES, ids=IDS)
def test_files_and_functions_stay_small(name: str, path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES, f"{name}: which noun hides inside?"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{name}.{node.name} has {length} lines"


def test_laws_are_pure() -> None:
    for name, path in MODULES:
        if inside(name, "fluido.laws"):
            taken = {target.split(".")[0] for target in imports(name, path)} & IMPURE
            assert not taken, f"{name} imports {taken}"


def test_only_settings_reads_the_environment() -> None:
    for name, path in MODULES:
        if inside(name, "app") and name != "app.core.settings":
            source = path.read_text()
            assert "os.environ" not in source, name
            assert "getenv" not in source, name


def test_nobody_writes_a_utils_module() -> None:
    assert not [
        name for name, _ in MODULES if name.rpartition(".")[2] in {"utils", "helpers", "common", "misc"}
    ]


def test_the_rule_bites() -> None:
    """The checker itself must see a wrong arrow, a lazy one and a relative one."""
    source = ROOT / "tests" / "architecture_sample.py"
    found = set(imports("fluido.laws.sample", source))
    assert {"fluido.flow.gate.Gate", "asyncio", "app.main", "fluido.laws.base.Law"} <= found
