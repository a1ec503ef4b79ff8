"""What a run found, as a file; a ground that cannot be had, as one sentence."""

import asyncio
import json
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from embedded.errors import GroundError

UNPLAYABLE = 2
"""Exit code of a run that could not begin."""


def played(run: Coroutine[Any, Any, Mapping[str, Any]], file: Path) -> Mapping[str, Any] | None:
    """Play `run` to its end and keep its record in `file`; None when it could not be, which has been said."""
    try:
        record = asyncio.run(run)
    except GroundError as error:
        print(error, file=sys.stderr)
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")
    return record
