"""Public traces of a production LLM service: when requests came and how long they were."""

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "traces"
AZURE_CONVERSATION = "azure_conversation"


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of arrival; the three tuples have one entry a request."""

    name: str
    at_s: tuple[float, ...]
    prompt_tokens: tuple[int, ...]
    output_tokens: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.at_s)

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals a second over the whole trace."""
        return (len(self) - 1) / (self.at_s[-1] - self.at_s[0])


def load_trace(name: str = AZURE_CONVERSATION, *, folder: Path = FOLDER) -> Trace:
    """Read a trace of this project; `FileNotFoundError` when it has none of that name."""
    at_ms, times, prompts, outputs = 0, [], [], []
    with gzip.open(folder / f"{name}.csv.gz", "rb") as packed:
        for row in csv.DictReader(io.TextIOWrapper(packed, encoding="ascii")):
            at_ms += int(row["gap_ms"])
            times.append(at_ms / 1000)
            prompts.append(int(row["prompt_tokens"]))
            outputs.append(int(row["output_tokens"]))
    return Trace(name, tuple(times), tuple(prompts), tuple(outputs))
