"""Where in the code something is: looked up, so that a file that moved is named where it is now."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.report.sources import ReportError

ROOT = Path(__file__).parents[3]


@cache
def place(module: str) -> str:
    """`ladder` is `src/fluido/laws/ladder.py`; a module that went behind a door is found as well."""
    for name in (module, f"_{module}", module.removeprefix("_")):
        found = sorted((ROOT / "src").rglob(f"{name}.py"), key=lambda path: (len(path.parts), path))
        if found:
            return found[0].relative_to(ROOT).as_posix()
    raise ReportError(f"El código ya no tiene un módulo «{module}», que un documento nombra.")


def places(modules: Sequence[str]) -> str:
    return ", ".join(f"`{place(module)}`" for module in modules)
