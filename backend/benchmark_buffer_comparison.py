"""V1 against V2: `python benchmark_buffer_comparison.py`, from this folder or any other.

Writes buffer_comparison_results.json (its schema: bench/results.schema.json) and
buffer_comparison_graphs.png beside this file. Less than six minutes; `--quick` less than one, `--full` forty.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [str(ROOT / "backend"), str(ROOT / "src")]
sys.path[:0] = FOLDERS
# the callers of one experiment are a process of their own, which must find the same code
os.environ["PYTHONPATH"] = os.pathsep.join(FOLDERS)

from bench.__main__ import chosen  # noqa: E402 - the folders above come first
from bench.command import compare_arms, customer_services  # noqa: E402
from bench.profiles import FULL, QUICK, STANDARD  # noqa: E402


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Under 60 s, synthetic weights; for CI.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="At most 40 min: every arm, workload and load.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    engine: Annotated[
        str | None, typer.Option(help="embedded (real small weights), synthetic or ollama.")
    ] = None,
    external: Annotated[
        bool, typer.Option("--external", help="On your DATABASE_URL, REDIS_URL and OLLAMA_URL.")
    ] = False,
    scale: Annotated[
        float, typer.Option(hidden=True, help="Every part that much shorter: a trial of it.")
    ] = 1.0,
) -> None:
    """Compare the static and the dynamic buffers of Sentinel."""
    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    profile = QUICK if quick else FULL if full else STANDARD
    compare_arms(
        profile,
        Console(),
        engine=chosen(engine),
        resume=resume,
        scale=scale,
        external=customer_services() if external else None,
    )


if __name__ == "__main__":
    typer.run(main)
