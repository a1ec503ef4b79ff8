"""`python -m bench`: run a plan, list what there is, render what was measured, compare two runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.agree import agree
from bench.catalogue import scene
from bench.claims import CLAIMS
from bench.command import GRAPHS, RESULTS, compare_arms, customer_services, engine_called
from bench.profiles import PROFILES
from bench.report.command import report

cli = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@cli.command()
def run(
    profile: Annotated[str, typer.Argument(help=f"One of: {', '.join(PROFILES)}.")] = "standard",
    *,
    only: Annotated[str, typer.Option(help="Experiments by name, with commas; no claim is decided.")] = "",
    engine: Annotated[str | None, typer.Option(help="synthetic, smollm2 or ollama.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    external: Annotated[
        bool, typer.Option("--external", help="On your DATABASE_URL, REDIS_URL and OLLAMA_URL.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The result; its blocks and picture stand beside it.")] = RESULTS,
) -> None:
    """Measure now, and write JSON and a picture."""
    if profile not in PROFILES:
        raise typer.BadParameter(f"{profile!r} is not one of: {', '.join(PROFILES)}")
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    try:
        wanted = PROFILES[profile].only(names) if names else PROFILES[profile]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    compare_arms(
        wanted,
        Console(),
        engine=engine_called(engine),
        resume=resume,
        external=customer_services() if external else None,
        results_path=out,
        graphs_path=GRAPHS if out == RESULTS else out.with_suffix(".png"),
    )


@cli.command(name="list")
def list_plans() -> None:
    """The plans with their parts, and the five claims."""
    console = Console()
    for profile in PROFILES.values():
        console.print(f"{profile.name}: {profile.planned_s / 60:.1f} min", highlight=False)
        for name, planned_s in profile.parts():
            console.print(f"  {planned_s:5.0f} s  {scene(name)}", highlight=False)
    for number, claim in enumerate(CLAIMS, start=1):
        console.print(f"claim {number} ({claim.name}): {claim.en}", highlight=False)


cli.command()(report)
cli.command()(agree)


if __name__ == "__main__":
    sys.exit(cli())
