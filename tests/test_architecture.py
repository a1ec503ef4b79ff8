"""The arrows between rooms point one way, files and functions stay small, laws stay pure."""

import ast
import re

import pytest

from .house import BASES, CALLS, DOORS, ROOT, House, attributes, imports, inside, length, rooms_and_arrows

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
MAX_CLASS_LINES = 250
MAX_CLASS_ATTRIBUTES = 20

# Longest prefix wins. A module may import only what its own entry names (and itself).
NOUNS = {"fluido.errors", "fluido._extras", "fluido._sample", "fluido._measure", "fluido._metrics"}
FLOWS = NOUNS | {"fluido.laws", "fluido.flow"}
LLM = CALLS | {"fluido.llm", "fluido.llm.prompt", "fluido.llm.engines", "fluido.llm.admission"}
DROP_INS = {"fluido.redis", "fluido.sqlalchemy", "fluido.llm", "fluido.gateway"}
PRODUCT = FLOWS | DROP_INS | {"fluido", "fluido.telemetry"}
ALLOWED: dict[str, set[str]] = {
    "fluido.errors": set(),
    "fluido._extras": set(),
    "fluido._sample": {"fluido.errors"},
    "fluido._measure": {"fluido.errors", "fluido._sample"},
    "fluido._metrics": {"fluido.errors", "fluido._sample", "fluido._measure"},
    "fluido.laws": NOUNS,
    "fluido.flow": NOUNS | {"fluido.laws"},
    "fluido.redis": FLOWS,
    "fluido.sqlalchemy": FLOWS,
    **dict.fromkeys(CALLS, {"fluido.errors"} | CALLS),
    "fluido.llm.prompt": CALLS,
    "fluido.llm.engines": {"fluido.errors", "fluido.llm.prompt"} | CALLS,
    "fluido.llm.admission": FLOWS | CALLS | {"fluido.llm.prompt", "fluido.llm.engines"},
    "fluido.llm": FLOWS | LLM,
    "fluido.gateway": FLOWS | LLM | {"fluido", "fluido.telemetry"},
    "fluido.telemetry": FLOWS,
    "fluido.testing": FLOWS | {"fluido.llm"},
    "fluido": FLOWS,
    "embedded": set(),
    "app.core": PRODUCT,
    "app.db": PRODUCT | {"app.core"},
    "app.cache": PRODUCT | {"app.core"},
    "app.services": PRODUCT | {"app.core", "app.db", "app.cache"},
    "app.api": PRODUCT | {"app.core", "app.services"},
    "app.doctor": PRODUCT | {"app.core", "app.db"},
    "app.build": PRODUCT | {"app"},
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
# Classes above the walls, each to be split by noun. The list only shrinks.
LARGE = {
    "app.cache.dynamic_redis.DynamicRedisCache",
    "app.services.conversation.ConversationService",
    "bench.run.Run",
    "fluido.flow._batcher.Batcher",
    "fluido.flow._limiter.Limiter",
    "fluido.flow._write_behind.WriteBehind",
    "fluido.gateway._admission.Admission",
    "fluido.llm.engines._ollama.OllamaEngine",
    "fluido.llm.engines._openai.OpenAIEngine",
    "fluido.llm._serving.Serving",
    "fluido.llm.admission._health.Health",
    "fluido.llm.admission._station.Station",
    "fluido.redis._client.Redis",
    "fluido.redis._link.Link",
    "fluido.redis._mux.Mux",
    "fluido.sqlalchemy._pool.AdaptivePool",
    "fluido.sqlalchemy._rows.RowWriter",
    "fluido.testing.rivals.elasticity.Elasticity",
    "fluido.testing.simulation.Simulation",
}


def room_of(module: str) -> str:
    return max((room for room in ALLOWED if inside(module, room)), key=len)


HOUSE = House()
NAMES = list(HOUSE.paths)


@pytest.mark.parametrize("name", NAMES)
def test_arrows_point_one_way(name: str) -> None:
    room = room_of(name)
    wrong = []
    for target in HOUSE.imports(name):
        if target.split(".")[0] not in BASES:
            continue
        allowed = ALLOWED[room] | {room}
        target_room = room_of(target)
        # A bare package on the list ("fluido", "app") opens its own door, not all of its rooms.
        if target_room not in allowed and not any(
            inside(target_room, a) for a in allowed if a in {"app", room}
        ):
            wrong.append(f"{name} -> {target}")
    assert not wrong


@pytest.mark.parametrize("name", NAMES)
def test_drivers_stay_in_their_room(name: str) -> None:
    for target in HOUSE.imports(name):
        owners = DRIVERS.get(target.split(".")[0])
        assert owners is None or any(inside(name, owner) for owner in owners), f"{name} imports {target}"


@pytest.mark.parametrize("name", NAMES)
def test_files_and_functions_stay_small(name: str) -> None:
    assert HOUSE.lines(name) <= MAX_FILE_LINES, f"{name}: which noun hides inside?"
    for node in ast.walk(HOUSE.trees[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert length(node) <= MAX_FUNCTION_LINES, f"{name}.{node.name} has {length(node)} lines"


def test_classes_stay_small() -> None:
    large = {
        f"{name}.{node.name}"
        for name, node in HOUSE.classes()
        if length(node) > MAX_CLASS_LINES or attributes(node) > MAX_CLASS_ATTRIBUTES
    }
    assert not large - LARGE


def test_app_and_bench_enter_fluido_by_its_doors() -> None:
    assert not HOUSE.past_doors()


def test_the_rooms_of_the_language_models_are_entered_by_their_doors() -> None:
    rooms = [room for room in sorted(LLM - CALLS) if room != "fluido.llm"]
    past = {
        f"{name} -> {module}"
        for name in NAMES
        for room in rooms
        for target in HOUSE.imports(name)
        if (module := HOUSE.module_of(target)) is not None
        and inside(module, room)
        and module != room
        and not inside(name, room)
    }
    assert not past


def test_examples_and_documents_enter_by_the_doors() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.py")]
    pages = [page for page in pages if page.name != "CHANGELOG.md"]
    taken = {
        f"{page.name}: {module}"
        for page in pages
        for module in re.findall(r"^ *(?:from|import) (fluido[\w.]*)", page.read_text(), re.MULTILINE)
        if module not in DOORS
    }
    assert len(pages) > 20
    assert not taken


def test_what_is_behind_a_door_begins_with_an_underscore() -> None:
    assert not HOUSE.open_modules()


def test_modules_do_not_import_one_another() -> None:
    """Also not for types only: what two modules need of each other is a noun of its own, or a protocol."""
    assert not HOUSE.cycles()


def test_one_place_makes_the_figures_of_a_flow() -> None:
    made = {
        name
        for name, tree in HOUSE.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "FlowStats"
    }
    assert made == {"fluido._metrics"}


def test_the_drawing_in_the_docs_is_of_this_house() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = page.partition("```mermaid\n")[2].partition("```")[0].splitlines()[1:]
    arrows = rooms_and_arrows(HOUSE)
    wrong = [line for line in drawn if line.split()[2] not in arrows.get(line.split()[0], ())]
    assert drawn
    assert not wrong, "python tests/house.py --drawing makes it anew"


def test_laws_are_pure() -> None:
    for name in NAMES:
        if inside(name, "fluido.laws"):
            taken = {target.split(".")[0] for target in HOUSE.imports(name)} & IMPURE
            assert not taken, f"{name} imports {taken}"


def test_only_settings_reads_the_environment() -> None:
    for name in NAMES:
        if inside(name, "app") and name != "app.core.settings":
            source = HOUSE.paths[name].read_text()
            assert "os.environ" not in source, name
            assert "getenv" not in source, name


def test_nobody_writes_a_utils_module() -> None:
    assert not [name for name in NAMES if name.rpartition(".")[2] in {"utils", "helpers", "common", "misc"}]


def test_the_rule_bites() -> None:
    """The checker itself must see a wrong arrow, a lazy one and a relative one."""
    source = ROOT / "tests" / "architecture_sample.py"
    found = set(imports("fluido.laws.sample", source))
    assert {"fluido.flow._gate.Gate", "asyncio", "app.main", "fluido.laws._base.Law"} <= found
