"""Raw samples and the file that holds them: results are data first, tables and pictures are made from it."""

import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

SCHEMA_NAME = "sentinel-fluido/bench"
SCHEMA_VERSION = 4
"""4: five claims, rows without verdicts, a capacity of each version, people of each block."""


class ResultsError(Exception):
    """The file is not a result of this benchmark, or of another version of it."""


class Outcome(StrEnum):
    """How one request ended. Only ANSWERED has a latency."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Seconds since its block began; latencies count from `intended_s`, when it was due."""

    intended_s: float
    started_s: float
    finished_s: float
    outcome: Outcome
    first_s: float | None = None
    output_tokens: int = 0
    label: str = ""
    database_s: float | None = None
    """Time the server spent on PostgreSQL for this request, where it says so; `cache_s` for Redis."""
    cache_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    user: str = ""
    """Who asked: a person's requests are told apart by it."""
    turn: int = 0
    """Which question of that person: the same text for every arm."""

    @property
    def total_s(self) -> float:
        """From the moment the user asked to the last token."""
        return self.finished_s - self.intended_s

    @property
    def ttft_s(self) -> float | None:
        """From the moment the user asked to the first token."""
        return None if self.first_s is None else self.first_s - self.intended_s


@dataclass(frozen=True, slots=True)
class Block:
    """What one arm did in one short stretch; `round` pairs it with the other arms' blocks."""

    experiment: str
    arm: str
    level: float
    round: int
    position: int
    """0 = this arm ran first in its round."""
    warm_up: bool
    busy: bool
    """The machine was busy before or stolen from during it, and repeating did not help."""
    busy_before: float
    steal: float
    load_1m: float
    duration_s: float
    samples: tuple[Sample, ...]
    figures: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the block as a whole. A component's block keeps these and an even part of its samples."""
    incarnation: int = 0
    """Blocks of an arm with the same number were done by one process (or pool, or client) of it."""
    people: int = 0
    """How many people or clients asked; 0 where nobody did."""

    def latencies(self, metric: str) -> list[float]:
        """`total_s`, `ttft_s`, `database_s` or `cache_s` of the answered requests that have it."""
        found = (getattr(s, metric) for s in self.samples if s.outcome is Outcome.ANSWERED)
        return [value for value in found if value is not None]

    def count(self, outcome: Outcome) -> int:
        return sum(sample.outcome is outcome for sample in self.samples)

    def share_in_time(self, *, ttft_s: float, total_s: float) -> float:
        """Share of all requests that were answered inside both bounds; nan without requests."""
        good = sum(
            s.outcome is Outcome.ANSWERED
            and s.total_s <= total_s
            and (s.ttft_s is None or s.ttft_s <= ttft_s)
            for s in self.samples
        )
        return good / len(self.samples) if self.samples else math.nan


@dataclass(frozen=True, slots=True)
class Timeline:
    """What an arm's own buffers said while something changed: one column a value, None where it said nothing.

    `events`: seconds since the start, and what happened then.
    """

    experiment: str
    arm: str
    round: int
    at_s: Sequence[float]
    values: Mapping[str, Sequence[float | None]]
    events: Sequence[tuple[float, str]]


@dataclass(slots=True)
class Results:
    """Everything one run knows. `notes` are sentences for the reader: what was skipped and why."""

    environment: Mapping[str, Any]
    configuration: Mapping[str, Any]
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    timelines: list[Timeline] = field(default_factory=list)

    def select(self, experiment: str, arm: str, level: float | None = None) -> list[Block]:
        """Measured blocks (warm-up left out) in order of rounds; `level` None: of all levels."""
        found = [
            b
            for b in self.blocks
            if (b.experiment, b.arm) == (experiment, arm)
            and not b.warm_up
            and (level is None or math.isclose(b.level, level))
        ]
        return sorted(found, key=lambda block: block.round)


_COLUMNS = tuple(f.name for f in fields(Sample))


def pack(block: Block) -> dict[str, Any]:
    """A block with its samples by column: a third of the size and easy to load elsewhere."""
    packed = {f.name: getattr(block, f.name) for f in fields(Block) if f.name != "samples"}
    columns: dict[str, list[Any]] = {}
    for name in _COLUMNS:
        column = [getattr(sample, name) for sample in block.samples]
        columns[name] = [round(v, 6) if isinstance(v, float) else v for v in column]
    packed["samples"] = columns
    packed["figures"] = finite(packed["figures"])
    return packed


def _unpack(packed: Mapping[str, Any]) -> Block:
    columns = packed["samples"]
    rows = zip(*(columns[name] for name in _COLUMNS), strict=True)
    samples = []
    for row in rows:
        named = dict(zip(_COLUMNS, row, strict=True))
        samples.append(Sample(**{**named, "outcome": Outcome(named["outcome"])}))
    figures = {k: math.nan if v is None else float(v) for k, v in packed["figures"].items()}
    return Block(**{**packed, "samples": tuple(samples), "figures": figures})


DERIVED = ("claims", "summary", "capacity", "shorter", "faults")
"""What is computed from the blocks, by `bench.claims.summarise` alone."""


def to_document(
    results: Results,
    *,
    derived: Mapping[str, Any] | None = None,
    experiments: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The JSON document (its schema: results.schema.json).

    `derived` is what `bench.claims` says of the blocks; `experiments` says what each name means.
    """
    told = dict(derived or {})
    return {
        "schema": SCHEMA_NAME,
        "version": SCHEMA_VERSION,
        "complete": results.complete,
        "environment": dict(results.environment),
        "configuration": dict(results.configuration),
        "notes": list(results.notes),
        "experiments": {name: dict(about) for name, about in (experiments or {}).items()},
        "claims": told.get("claims", []),
        "summary": told.get("summary", []),
        "capacity": told.get("capacity", {}),
        "shorter": told.get("shorter", []),
        "faults": told.get("faults", {}),
        "timelines": [asdict(line) for line in results.timelines],
        "blocks": [pack(block) for block in results.blocks],
    }


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no nan: an unknown number is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def from_document(document: object) -> Results:
    """The opposite of `to_document`. `ResultsError` says in a sentence what is wrong."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA_NAME:
        raise ResultsError("this is not a result of the Sentinel benchmark (its 'schema' says otherwise)")
    if document.get("version") != SCHEMA_VERSION:
        raise ResultsError(
            f"this result has schema version {document.get('version')}, this program reads {SCHEMA_VERSION}: "
            "run the benchmark again"
        )
    try:
        return Results(
            environment=document["environment"],
            configuration=document["configuration"],
            blocks=[_unpack(block) for block in document["blocks"]],
            notes=list(document["notes"]),
            complete=bool(document["complete"]),
            timelines=[Timeline(**line) for line in document.get("timelines", ())],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"this result is damaged: {error!r}") from error


def write(document: Mapping[str, Any], path: Path) -> None:
    """Two files, each whole or not at all: the document, and its blocks compressed beside it.

    A full disk or Ctrl-C leaves the files that were there.
    """
    blocks = json.dumps(document["blocks"], ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = gzip.compress(blocks.encode(), mtime=0)
    beside = raw_path(path)
    raw = {
        "file": beside.name,
        "sha256": hashlib.sha256(packed).hexdigest(),
        "blocks": len(document["blocks"]),
    }
    text = json.dumps({**document, "blocks": [], "raw": raw}, ensure_ascii=False, indent=1, allow_nan=False)
    _replace(beside, packed)
    _replace(path, (text + "\n").encode())


def raw_path(path: Path) -> Path:
    """Where the blocks of the document at `path` are."""
    return path.with_name(f"{path.stem}.blocks.json.gz")


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".tmp")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path, *, blocks: bool = True) -> dict[str, Any]:
    """The document in a file, with its blocks unless they are not wanted.

    `ResultsError` when it cannot be read, is not JSON, or its blocks are missing or another run's.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ResultsError(f"{path.name} is not a result of the Sentinel benchmark")
    if blocks and isinstance(document.get("raw"), dict):
        document["blocks"] = _read_blocks(path, document["raw"])
    return document


def _read_blocks(path: Path, raw: Mapping[str, Any]) -> list[Any]:
    beside = path.with_name(Path(str(raw.get("file", ""))).name)
    try:
        packed = beside.read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{path.name} keeps its raw samples in {beside.name}, which cannot be read: {error.strerror}"
        ) from error
    if hashlib.sha256(packed).hexdigest() != raw.get("sha256"):
        raise ResultsError(f"{beside.name} belongs to another run than {path.name}")
    blocks: list[Any] = json.loads(gzip.decompress(packed))
    return blocks


def as_mapping(item: Any) -> dict[str, Any]:
    """A frozen dataclass as plain data for the document."""
    return asdict(item)
