"""Prometheus metrics of the gateway, in the text format 0.0.4."""

from collections.abc import Callable, Iterable
from typing import Protocol

from ._discovery import Engine
from ._seen import Row


class Queue(Protocol):
    """The queue of one model on one engine, as it is shown."""

    @property
    def name(self) -> str:
        """The engine's."""

    @property
    def model(self) -> str:
        """What it serves."""

    @property
    def limit(self) -> float:
        """How many calls may be in flight."""

    @property
    def inflight(self) -> int:
        """How many are."""

    @property
    def waiting(self) -> int:
        """How many wait."""


# Each: name, what it is, and its value in a row.
COUNTERS: tuple[tuple[str, str, Callable[[Row], float]], ...] = (
    ("requests", "Requests that ended.", lambda row: row.requests),
    ("refused", "Requests that were refused.", lambda row: row.refused),
    ("failed", "Requests that failed.", lambda row: row.failed),
    ("left", "Requests whose client left.", lambda row: row.left),
    ("queue_seconds", "Seconds in the queue.", lambda row: row.queue_s),
    ("load_seconds", "Seconds in which a model was loaded.", lambda row: row.load_s),
    ("service_seconds", "Seconds of an engine.", lambda row: row.service_s),
    ("first_token_seconds", "Seconds until the first token came.", lambda row: row.first_s),
    ("prompt_tokens", "Tokens of prompts.", lambda row: row.prompt_tokens),
    ("output_tokens", "Tokens of answers.", lambda row: row.output_tokens),
    ("lost_tokens", "Tokens that an engine cut off prompts.", lambda row: row.lost_tokens),
    ("loads", "Requests that waited for a model to be loaded.", lambda row: row.loads),
)
PREFIX = "fluido_gateway"


def text(rows: Iterable[Row], engines: Iterable[Engine], queues: Iterable[Queue]) -> str:
    """Everything as one page. Rows are bounded where they are kept."""
    rows = tuple(rows)
    lines: list[str] = []
    for name, what, value in COUNTERS:
        _head(lines, f"{name}_total", what, "counter")
        for row in rows:
            labels = {"client": row.client, "key": row.key, "model": row.model}
            lines.append(_sample(f"{name}_total", labels, value(row)))
    _head(lines, "engine_up", "Whether an engine answers.", "gauge")
    for engine in engines:
        labels = {"engine": engine.name, "kind": engine.kind, "version": engine.version}
        lines.append(_sample("engine_up", labels, float(engine.is_up)))
    gauges: tuple[tuple[str, str, Callable[[Queue], float]], ...] = (
        ("limit", "Calls that may be in flight.", lambda queue: queue.limit),
        ("inflight", "Calls in flight.", lambda queue: queue.inflight),
        ("waiting", "Calls that wait.", lambda queue: queue.waiting),
    )
    queues = tuple(queues)
    for name, what, of in gauges:
        _head(lines, name, what, "gauge")
        lines += [_sample(name, {"engine": q.name, "model": q.model}, of(q)) for q in queues]
    return "\n".join(lines) + "\n"


def _head(lines: list[str], name: str, what: str, kind: str) -> None:
    lines += [f"# HELP {PREFIX}_{name} {what}", f"# TYPE {PREFIX}_{name} {kind}"]


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{PREFIX}_{name}{{{inside}}} {float(value)!r}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
