"""Measure the gateway: `python -m bench.gateway [NAME ...]`, one JSON line for each measurement."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from bench.gateway.added import added
from bench.gateway.batching import batching
from bench.gateway.cost import cost
from bench.gateway.first_minute import first_minute
from bench.gateway.killed import killed
from bench.gateway.leaves import leaves
from bench.gateway.overload import overload
from bench.gateway.prompts import cut
from bench.gateway.result import Result, document, table
from bench.gateway.sharing import shares
from bench.gateway.streams import open_streams
from bench.gateway.swaps import scripted_swaps, swaps
from bench.gateway.titles import titles

Measure = Callable[[], Coroutine[Any, Any, Result]]
RESULTS = Path(__file__).parents[3] / "docs" / "results" / "gateway"
MEASURES: dict[str, tuple[str, Measure]] = {
    "cpu": ("G1: CPU of a streamed event and of a call", cost),
    "added": ("G2: time added to the first byte", added),
    "neighbour": ("G2: the same beside one who sends 250 KB a second", partial(added, neighbour=True)),
    "streams": ("G3: 2,000 open streams at 5 words a second", open_streams),
    "streams-fast": ("G3: the same at 25 words a second", partial(open_streams, gap_s=0.04)),
    "batching": ("G4: throughput of an engine that batches", batching),
    "turns": ("G6: two models of a scripted engine that holds one", scripted_swaps),
    "swaps": ("G6: two models of a real Ollama that holds one", swaps),
    "shares": ("G7: one who asks 500 at once beside one who asks one at a time", shares),
    "titles": ("G8: a person beside a page's own tasks", titles),
    "leaves": ("G9: clients that leave", leaves),
    "overload": ("G10: twice the load, with deadlines", overload),
    "killed": ("G11: one of two real engines is killed", killed),
    "cut": ("G13: prompts that are longer than the window of a real Ollama", cut),
    "first-minute": ("G15: from `pip install` to the first answer", first_minute),
}


def main() -> int:
    """Measure what was named, else everything; 1 where a promise was not kept."""
    listed = "\n".join(f"  {name:14} {what}" for name, (what, _) in MEASURES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway",
        description="Measure the gateway beside no gateway and beside others.",
        epilog=f"measurements (none: all):\n{listed}\n\nGATEWAY_ARMS names a folder of environments with "
        "vllm-router, smg, litellm and ollama-herd; those that are not there are left out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", metavar="NAME")
    parser.add_argument("--save", action="store_true", help="keep the results in docs/results/gateway")
    parser.add_argument("--table", action="store_true", help="print the kept results as a table")
    given = parser.parse_args()
    if unknown := set(given.name) - set(MEASURES):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    if given.table:
        print(table(RESULTS))
        return 0
    kept = True
    for name in given.name or MEASURES:
        result = uvloop.run(_measured(MEASURES[name][1]))
        said = document(name, result)
        print(json.dumps(said), flush=True)
        if given.save:
            RESULTS.mkdir(parents=True, exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")
        kept &= result.met is not False
    return 0 if kept else 1


async def _measured(measure: Measure) -> Result:
    """What is started for it ends with it, also where it is told to end before."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure()


if __name__ == "__main__":
    sys.exit(main())
