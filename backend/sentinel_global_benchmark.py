"""The customer's table: whole requests to a running Sentinel, V1 and V2, against their targets.

`python sentinel_global_benchmark.py` asks `POST /chat/stream` of both over HTTP, with PostgreSQL, Redis and
an engine behind each, for at most eight minutes, and writes sentinel_global_results.json beside this file.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

BACKEND = Path(__file__).resolve().parent
sys.path[:0] = [str(BACKEND), str(BACKEND.parent / "src")]

from bench.command import compare_arms, engine_called  # noqa: E402 - the folders above come first
from bench.profiles import QUICK, STANDARD  # noqa: E402


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Under 60 s, synthetic weights; for CI.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    engine: Annotated[
        str | None, typer.Option(help="synthetic, smollm2 (real small weights) or ollama.")
    ] = None,
) -> None:
    """Measure Sentinel as a whole and print the customer's table."""
    compare_arms(
        QUICK if quick else STANDARD,
        Console(),
        engine=engine_called(engine),
        resume=resume,
        results_path=BACKEND / "sentinel_global_results.json",
        graphs_path=None,
    )


if __name__ == "__main__":
    typer.run(main)
