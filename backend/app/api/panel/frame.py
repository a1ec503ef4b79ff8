"""What the live page shows at one moment, ready for JSON. Reads the flows; changes nothing."""

import asyncio
import hashlib
import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol, runtime_checkable

from app.api.traffic import Traffic
from app.core.ports import DependencyHealth, System
from fluido import FlowStats
from fluido.llm import EngineFigures, Station, engine_figures

SHOWN_DECISIONS = 6
SHOWN_WAITERS = 8
BATCHING = frozenset({"batcher", "write_behind"})
OWN_ROUTES = ("/panel", "/health", "/metrics", "/buffers", "/web", "/swagger", "/c/", "unknown")
RATE_FRAMES = 10

Plain = dict[str, object]


@runtime_checkable
class CountsWrites(Protocol):
    """A flow that writes many commands at once and counts its writes by size."""

    def counts(self) -> "WriteCounts": ...


class WriteCounts(Protocol):
    """Commands that were written, and writes by size class."""

    @property
    def shared(self) -> int: ...

    @property
    def batches(self) -> Mapping[int, int]: ...


class Frames:
    """Makes one frame after the other; rates and batch sizes are those of the last `RATE_FRAMES`.

    User ids do not leave the process: whoever waits is shown by a short digest, the same one for the same
    user until the process ends. `replica` names this one: behind a balancer nobody else tells it.
    """

    def __init__(
        self,
        system: System,
        traffic: Traffic,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
        salt: bytes | None = None,
        replica: str = "",
    ) -> None:
        self._system = system
        self._traffic = traffic
        self._clock = clock
        self._wall = wall
        self._replica = replica
        self._salt = salt or secrets.token_bytes(16)
        self._before: dict[str, deque[tuple[float, float, float]]] = {}
        self._health: Sequence[DependencyHealth] = ()

    async def look(self) -> None:
        """Ask every dependency; the frames show the last answer."""
        self._health = await self._system.health()

    def make(self) -> Plain:
        """One frame."""
        now_s = self._clock()
        live = list(self._system.flows())
        flows = [(flow, flow.stats()) for flow in live]
        engines = [engine_figures(flow, now_s) for flow in live if isinstance(flow, Station)]
        routes = [times for times in self._traffic.recent.read() if not times.route.startswith(OWN_ROUTES)]
        return {
            "at_s": self._wall(),
            "replica": self._replica,
            "flows": [self._flow(flow, stats, now_s) for flow, stats in flows],
            "engines": [_engine(engine) for engine in engines],
            "waiters": self._waiters([stats for _, stats in flows], engines),
            "routes": [asdict(times) for times in routes],
            "health": [asdict(item) for item in self._health],
            "tasks": len(asyncio.all_tasks()),
        }

    def _flow(self, flow: object, stats: FlowStats, now_s: float) -> Plain:
        written, writes = float(stats.admitted), float(stats.completed)
        if isinstance(flow, CountsWrites):
            counts = flow.counts()
            written, writes = float(counts.shared), float(sum(counts.batches.values()))
        past = self._before.setdefault(stats.name, deque(maxlen=RATE_FRAMES))
        past.append((now_s, written, writes))
        before_s, written_before, writes_before = past[0]
        elapsed_s = now_s - before_s
        is_batching = stats.kind in BATCHING or isinstance(flow, CountsWrites)
        new_writes = writes - writes_before
        shown = {name: _finite(value) for name, value in ((name, getattr(stats, name)) for name in _SHOWN)}
        return {
            **shown,
            "per_s": (written - written_before) / elapsed_s if elapsed_s > 0 else 0.0,
            "batch": (written - written_before) / new_writes if is_batching and new_writes > 0 else None,
            "batches": is_batching,
            "decisions": [
                {
                    "ago_s": now_s - record.at_s,
                    "value": _finite(record.value),
                    "reason": record.reason,
                    "inputs": {name: _finite(value) for name, value in record.inputs.items()},
                }
                for record in sorted(stats.decisions, key=lambda record: record.at_s)[
                    : -SHOWN_DECISIONS - 1 : -1
                ]
            ],
        }

    def _waiters(self, flows: Sequence[FlowStats], engines: Sequence[EngineFigures]) -> list[Plain]:
        queued = {engine.name for engine in engines}
        found: list[Plain] = [
            {
                "flow": stats.name,
                "class": stats.longest_label,
                "who": "",
                "waited_ms": stats.wait_ms_longest,
            }
            for stats in flows
            if stats.wait_ms_longest > 0 and stats.name not in queued
        ]
        found += [
            {
                "flow": engine.name,
                "class": waiting.lane,
                "who": self._digest(waiting.key),
                "waited_ms": waiting.waited_s * 1e3,
            }
            for engine in engines
            for waiting in engine.longest
        ]
        return sorted(found, key=_by_wait)[:SHOWN_WAITERS]

    def _digest(self, key: str) -> str:
        return (
            hashlib.blake2b(key.encode(errors="replace"), key=self._salt, digest_size=3).hexdigest()
            if key
            else ""
        )


_SHOWN = (
    "name",
    "kind",
    "law",
    "value",
    "floor",
    "ceiling",
    "inflight",
    "waiting",
    "admitted",
    "refused",
    "timed_out",
    "cancelled",
    "completed",
    "overloads",
    "wait_ms_p50",
    "wait_ms_p99",
    "service_ms_p50",
    "service_ms_p99",
    "wait_ms_longest",
    "brake",
    "reasons",
    "pinned",
    "shadow",
)


def _engine(engine: EngineFigures) -> Plain:
    return {name: value for name, value in asdict(engine).items() if name != "longest"}


def _by_wait(row: Plain) -> float:
    waited_ms = row["waited_ms"]
    return -waited_ms if isinstance(waited_ms, float) else 0.0


def _finite(value: object) -> object:
    """JSON has no infinity: a bound that is not there is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
