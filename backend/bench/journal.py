"""What was measured so far, line by line, so that nothing is lost and a run can go on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.samples import Block, Results, ResultsError, Timeline, from_document, pack, to_document


class Journal:
    """First line: what is measured and where; then one line a block or a fact. Gone after a complete run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, results: Results) -> None:
        """Start anew; what an older run left is gone."""
        header = to_document(Results(results.environment, results.configuration))
        self.path.write_text(json.dumps(header) + "\n", encoding="utf-8")

    def add(self, blocks: Sequence[Block]) -> None:
        """Append a finished round."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(pack(block)) + "\n" for block in blocks)

    def tell(self, fact: str, value: Mapping[str, Any]) -> None:
        """Append something that a resumed run must know: a capacity, the tuned constants, a timeline."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"fact": fact, "value": value}) + "\n")

    def forget(self) -> None:
        """The run is complete."""
        self.path.unlink(missing_ok=True)

    def resume(self, results: Results) -> int:
        """Take over the blocks of an interrupted run of the same code, profile and engine; how many.

        `ResultsError` says why it cannot go on.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise ResultsError("there is no interrupted run to go on with") from None
        documents = [parsed for line in lines if (parsed := _parsed(line)) is not None]
        if not documents:
            raise ResultsError("the interrupted run left nothing that can be read")
        facts = [line for line in documents[1:] if "fact" in line]
        old = from_document(
            {**documents[0], "blocks": [line for line in documents[1:] if "fact" not in line]}
        )
        for what in ("commit", "cpu", "cores"):
            if old.environment.get(what) != results.environment.get(what):
                raise ResultsError(f"the interrupted run had another {what}: begin a new one")
        if _plain(old.configuration.get("profile")) != _plain(results.configuration.get("profile")):
            raise ResultsError("the interrupted run had another profile or engine: begin a new one")
        results.blocks.extend(old.blocks)
        for line in facts:
            if line["fact"] == "timeline":
                results.timelines.append(Timeline(**line["value"]))
            else:
                results.configuration[line["fact"]].update(line["value"])
        return len(old.blocks)


def _parsed(line: str) -> dict[str, Any] | None:
    """A line that was cut by the end of the process is left out."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _plain(profile: object) -> object:
    """As it looks after a trip through JSON: tuples are lists."""
    return json.loads(json.dumps(profile)) if isinstance(profile, Mapping) else profile
