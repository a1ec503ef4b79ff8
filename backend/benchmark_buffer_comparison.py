"""V1 against V2: `python benchmark_buffer_comparison.py`, from this folder or any other.

Writes buffer_comparison_results.json (its schema: bench/results.schema.json) and
buffer_comparison_graphs.png beside this file. At most eight minutes; `--quick` less than one, `--full` fifty.
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

from bench.command import (  # noqa: E402 - the folders above come first
    compare_arms,
    customer_services,
    engine_called,
)
from bench.profiles import FULL, QUICK, STANDARD  # noqa: E402


def main(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Under 60 s, synthetic weights; for CI.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="At most 50 min: every version, load and experiment.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    engine: Annotated[
        str | None, typer.Option(help="synthetic, smollm2 (real small weights) or ollama.")
    ] = None,
    external: Annotated[
        bool, typer.Option("--external", help="On your DATABASE_URL, REDIS_URL and OLLAMA_URL.")
    ] = False,
) -> None:
    """Compare the static and the dynamic buffers of Sentinel."""
    if quick and full:
        raise typer.BadParameter("--quick and --full exclude each other")
    profile = QUICK if quick else FULL if full else STANDARD
    compare_arms(
        profile,
        Console(),
        engine=engine_called(engine),
        resume=resume,
        external=customer_services() if external else None,
    )


if __name__ == "__main__":
    typer.run(main)
