"""What the house is made of, read from its source: modules, imports, doors, cycles, sizes, names.

`python tests/house.py [ROOT]` prints the figures; `--drawing` prints the rooms of fluido and the arrows
between them as Mermaid, which is the drawing of docs/architecture.md.
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
BASES = {"fluido": "src", "embedded": "src", "app": "backend", "bench": "backend"}
# What users, app and bench may import of fluido. Everything else is behind one of these doors.
DOORS = (
    "fluido",
    "fluido.errors",
    "fluido.gateway",
    "fluido.laws",
    "fluido.llm",
    "fluido.redis",
    "fluido.redis.benchmark",
    "fluido.sqlalchemy",
    "fluido.telemetry.opentelemetry",
    "fluido.telemetry.prometheus",
)
# What a call, its answer, an engine and its refusals are: every room of fluido.llm speaks of them.
CALLS = {f"fluido.llm.{noun}" for noun in ("_call", "_engine", "_errors", "_profile")}
PERMIT_WORDS = {"Permit", "Slot", "Seat", "Hold", "Work", "Turn", "Claim", "Place"}
WAITER_WORDS = {"Waiter", "Ticket", "Wish", "_Pending", "Pending", "Blocked", "Turn"}


class House:
    """The Python modules of the four rooms under `root`, without the schema's migrations."""

    def __init__(self, root: Path = ROOT) -> None:
        self.paths: dict[str, Path] = {}
        for room, base in BASES.items():
            for path in sorted((root / base / room).rglob("*.py")):
                if "migrations" not in path.parts:
                    parts = path.relative_to(root / base).with_suffix("").parts
                    self.paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self.trees = {name: ast.parse(path.read_text()) for name, path in self.paths.items()}

    def lines(self, name: str) -> int:
        """How many lines a module has."""
        return len(self.paths[name].read_text().splitlines())

    def imports(self, name: str) -> list[str]:
        """Every name that a module imports, at any depth: a lazy import is an arrow too."""
        return list(imports(name, self.paths[name], self.trees[name]))

    def module_of(self, target: str) -> str | None:
        """The module that an imported name stands for or in; None for one that is not ours."""
        while target and target not in self.paths:
            target = target.rpartition(".")[0]
        return target or None

    def past_doors(self) -> list[str]:
        """Imports by which app and bench enter fluido past its doors."""
        wrong = []
        for name in self.paths:
            if name.split(".")[0] in {"app", "bench"}:
                for target in self.imports(name):
                    module = self.module_of(target)
                    if module is not None and is_behind(module):
                        wrong.append(f"{name} -> {module}")
        return sorted(set(wrong))

    def open_modules(self) -> list[str]:
        """Modules of fluido that are behind a door and do not say so by an underscore."""
        found = []
        for name in self.paths:
            if not is_behind(name) or self.paths[name].name == "__init__.py":
                continue
            if not any(part.startswith("_") for part in name.split(".")[1:]):
                found.append(name)
        return found

    def cycles(self) -> list[tuple[str, ...]]:
        """Modules that import one another, also where it is for types only, as sorted groups."""
        arrows: dict[str, set[str]] = defaultdict(set)
        for name in self.paths:
            for target in self.imports(name):
                module = self.module_of(target)
                # A package does not count as what stands in it: its door imports all of that.
                if module is not None and module != name and not inside(name, module):
                    arrows[name].add(module)
        return strong_components(arrows)

    def classes(self) -> Iterator[tuple[str, ast.ClassDef]]:
        """Every class at the top of a module, with the name of that."""
        for name, tree in self.trees.items():
            yield from ((name, node) for node in tree.body if isinstance(node, ast.ClassDef))

    def doubles(self) -> dict[str, list[str]]:
        """Public class names that stand in more than one module of src and backend."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, node in self.classes():
            found[node.name].append(name)
        return {name: where for name, where in found.items() if len(where) > 1 and name[0] != "_"}


def imports(name: str, path: Path, tree: ast.AST | None = None) -> Iterator[str]:
    """Every name that the module `name` at `path` imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree or ast.parse(path.read_text())):
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
    """Whether `module` is the room or stands in it."""
    return module == room or module.startswith(room + ".")


def is_behind(module: str) -> bool:
    """Whether a module stands behind a door of fluido. What is there to test with is public altogether."""
    return inside(module, "fluido") and module not in DOORS and not inside(module, "fluido.testing")


def length(node: ast.AST) -> int:
    """How many lines a class or function has."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    return int(last) - int(first) + 1


def methods(node: ast.ClassDef) -> int:
    """How many functions a class defines."""
    return sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)


def attributes(node: ast.ClassDef) -> int:
    """How many attributes a class sets on itself."""
    return len(
        {
            each.attr
            for each in ast.walk(node)
            if isinstance(each, ast.Attribute)
            and isinstance(each.ctx, ast.Store)
            and isinstance(each.value, ast.Name)
            and each.value.id == "self"
        }
    )


def strong_components(arrows: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Groups of more than one node that reach one another (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(tuple(sorted(group)))

    for node in list(arrows):
        if node not in index:
            visit(node)
    return sorted(found)


def figures(house: House) -> Iterator[tuple[str, str]]:
    """The figures of a house, as rows."""
    for room in ("fluido", "fluido.flow", "fluido.redis", "fluido.sqlalchemy", "fluido.llm", "app", "bench"):
        names = [name for name in house.paths if inside(name, room)]
        small = sum(house.lines(name) < 50 for name in names)
        total = sum(house.lines(name) for name in names)
        yield room, f"{len(names)} files, {total:,} lines, {small} under 50 lines"
    largest = sorted(house.classes(), key=lambda each: -length(each[1]))[:6]
    for name, node in largest:
        row = f"{length(node)} lines, {methods(node)} methods, {attributes(node)} attributes"
        yield f"large class {name}.{node.name}", row
    classes = [node for name, node in house.classes() if inside(name, "fluido")]
    yield "classes of fluido over 250 lines", str(sum(length(node) > 250 for node in classes))
    yield "classes of fluido over 20 attributes", str(sum(attributes(node) > 20 for node in classes))
    yield "class names used more than once", str(len(house.doubles()))
    named = Counter(node.name for node in classes)
    yield "words for permit", ", ".join(sorted(named.keys() & PERMIT_WORDS))
    yield "words for waiter", ", ".join(sorted(named.keys() & WAITER_WORDS))
    yield "imports past doors", str(len(house.past_doors()))
    yield "modules behind a door without an underscore", str(len(house.open_modules()))
    yield "cycles between modules", str(len(house.cycles()))
    made = sum(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "FlowStats"
        for name, tree in house.trees.items()
        for node in ast.walk(tree)
    )
    yield "places that make a FlowStats", str(made)


def rooms_and_arrows(house: House) -> dict[str, set[str]]:
    """The rooms of src and backend, and which others each imports."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for name in house.paths:
        for target in house.imports(name):
            module = house.module_of(target)
            if module is not None and room_of(module) != room_of(name):
                arrows[room_of(name)].add(room_of(module))
    return arrows


def drawing(house: House) -> str:
    """The rooms and their arrows as Mermaid; the shortest ways only."""
    arrows = rooms_and_arrows(house)
    lines = ["flowchart TD"]
    for room in sorted(arrows):
        lines += [
            f"  {room} --> {other}" for other in sorted(arrows[room]) if not _reached(arrows, room, other)
        ]
    return "\n".join(lines)


def _reached(arrows: Mapping[str, set[str]], room: str, other: str) -> bool:
    """Whether `other` is reached from `room` through a third one: that arrow need not be drawn."""
    seen, todo = {room, other}, list(arrows[room] - {other})
    while todo:
        between = todo.pop()
        if between not in seen:
            seen.add(between)
            following = arrows.get(between, set())
            if other in following:
                return True
            todo += following
    return False


def room_of(module: str) -> str:
    """The room of a module as it is drawn: a folder, or the small nouns of fluido."""
    parts = module.split(".")
    if parts[0] == "fluido":
        rooms = {"flow", "laws", "redis", "sqlalchemy", "llm", "gateway", "telemetry", "testing"}
        if len(parts) == 1 or parts[1] == "__main__":
            return "fluido"
        if parts[1] == "llm" and len(parts) > 2:
            if parts[2] in {"prompt", "engines", "admission"}:
                return ".".join(parts[:3])
            return "fluido.llm.calls" if f"fluido.llm.{parts[2]}" in CALLS else "fluido.llm"
        return f"fluido.{parts[1]}" if parts[1] in rooms else "fluido.nouns"
    if (
        parts[0] == "app"
        and len(parts) > 1
        and parts[1] in {"api", "services", "db", "cache", "core", "doctor"}
    ):
        return ".".join(parts[:2])
    return parts[0]


def main(arguments: list[str]) -> None:
    """Print the figures or the drawing of a tree."""
    house = House(next((Path(each) for each in arguments if not each.startswith("-")), ROOT))
    if "--drawing" in arguments:
        sys.stdout.write(f"{drawing(house)}\n")
        return
    for name, row in figures(house):
        sys.stdout.write(f"{name:<50} {row}\n")
    if "--all" in arguments:
        for each in (*house.past_doors(), *map(" <-> ".join, house.cycles()), *house.doubles().items()):
            sys.stdout.write(f"{each}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
