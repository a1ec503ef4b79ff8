"""`python -m bench.gateway [NAME ...]`: one JSON line for each measurement."""

import json
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

import uvloop

from bench.gateway import measures
from bench.gateway.swaps import swaps

MEASURES: dict[str, partial[Coroutine[Any, Any, dict[str, object]]]] = {
    "cpu": partial(measures.cpu),
    "added": partial(measures.added),
    "neighbour": partial(measures.added, neighbour=True),
    "streams": partial(measures.open_streams),
    "shares": partial(measures.shares),
    "titles": partial(measures.titles),
    "leaves": partial(measures.leaves),
    "overload": partial(measures.overload),
    "swaps": partial(swaps),
}


def main() -> None:
    """Run what was named, else everything."""
    for name in sys.argv[1:] or MEASURES:
        print(json.dumps({name: uvloop.run(MEASURES[name]())}), flush=True)


if __name__ == "__main__":
    main()
