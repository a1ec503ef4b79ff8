"""`python -m bench`: V1 and V2 on the embedded ground, interleaved, in less than three minutes."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from bench.agree import agree
from bench.command import compare_arms
from bench.profiles import BENCH, QUICK, EngineName
from bench.report.command import report

cli = typer.Typer(add_completion=False, help=__doc__)


@cli.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Under a minute with synthetic weights: does everything work?")
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="smollm2 (real weights), synthetic or ollama; the profile chooses.")
    ] = None,
) -> None:
    """Compare V1 and V2 now; `report` renders what was measured, `agree` compares two runs."""
    if context.invoked_subcommand is not None:
        return
    compare_arms(QUICK if smoke else BENCH, Console(), engine=chosen(engine))


cli.command()(report)
cli.command()(agree)


def chosen(engine: str | None) -> EngineName | None:
    """The engine by its name on the command line."""
    names: dict[str, EngineName] = {
        "smollm2": "smollm2",
        "synthetic": "synthetic",
        "embedded": "smollm2",
        "ollama": "ollama",
    }
    if engine is None:
        return None
    if engine not in names:
        raise typer.BadParameter(f"{engine!r} is not one of: {', '.join(names)}")
    return names[engine]


if __name__ == "__main__":
    sys.exit(cli())
