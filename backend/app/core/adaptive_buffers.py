"""Sentinel's policy for every kind of flow, and the live values of the flows that obey it.

The policy says between which bounds a law may move, who may wait and for how long. The values in
force are never kept here: `AdaptiveBufferManager` reads them from the flows themselves.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from fluido.metrics import FlowStats, Histogram
from fluido.sample import Outcome, Sample

KIB = 1024


class DataFlowType(StrEnum):
    """The five kinds of flow through Sentinel."""

    LLM_INFERENCE = "llm_inference"
    DATABASE_QUERY = "database_query"
    CACHE_OPERATION = "cache_operation"
    NETWORK_PACKET = "network_packet"
    TELEMETRY = "telemetry"


@dataclass(frozen=True, slots=True)
class DynamicBufferConfig:
    """The values of one flow in the customer's terms. As a policy: where it starts and its bounds.

    Sizes are in bytes, times in seconds. `pool_min_size` and `pool_max_size` bound what may be in
    flight; in a live configuration `pool_max_size` is the limit in force now. `batch_size` is what
    one write may carry, `prefetch_count` what is asked for ahead of need. `max_waiting` bounds the
    queue in front: who comes beyond it is refused at once.
    """

    read_buffer_size: int
    write_buffer_size: int
    batch_size: int
    prefetch_count: int
    connect_timeout_s: float
    read_timeout_s: float
    pool_min_size: int
    pool_max_size: int
    max_waiting: int
    cache_ttl_s: float
    cache_max_entries: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value) or value < 0:
                msg = f"{name} must be a finite number of at least 0, not {value}"
                raise ValueError(msg)
        if not 1 <= self.pool_min_size <= self.pool_max_size:
            msg = (
                f"pool_min_size ({self.pool_min_size}) must be at least 1 and at most "
                f"pool_max_size ({self.pool_max_size})"
            )
            raise ValueError(msg)


# Read buffers stay at 64 KiB: 256 KiB costs up to four times a message on asyncio.
POLICY: Mapping[DataFlowType, DynamicBufferConfig] = {
    DataFlowType.LLM_INFERENCE: DynamicBufferConfig(
        read_buffer_size=64 * KIB,
        write_buffer_size=64 * KIB,
        batch_size=1,
        prefetch_count=0,
        connect_timeout_s=0.8,
        read_timeout_s=60.0,
        pool_min_size=1,
        pool_max_size=64,
        max_waiting=256,
        cache_ttl_s=300.0,
        cache_max_entries=256,
    ),
    DataFlowType.DATABASE_QUERY: DynamicBufferConfig(
        read_buffer_size=64 * KIB,
        write_buffer_size=64 * KIB,
        batch_size=512,
        prefetch_count=1,
        connect_timeout_s=5.0,
        read_timeout_s=10.0,
        pool_min_size=2,
        pool_max_size=50,
        max_waiting=2_000,
        cache_ttl_s=0.0,
        cache_max_entries=0,
    ),
    DataFlowType.CACHE_OPERATION: DynamicBufferConfig(
        read_buffer_size=64 * KIB,
        write_buffer_size=64 * KIB,
        batch_size=512,
        prefetch_count=0,
        connect_timeout_s=1.0,
        read_timeout_s=1.0,
        pool_min_size=1,
        pool_max_size=10_000,
        max_waiting=10_000,
        cache_ttl_s=3_600.0,
        cache_max_entries=10_000,
    ),
    DataFlowType.NETWORK_PACKET: DynamicBufferConfig(
        read_buffer_size=64 * KIB,
        write_buffer_size=16 * KIB,
        batch_size=16 * KIB,
        prefetch_count=0,
        connect_timeout_s=0.0,
        read_timeout_s=30.0,
        pool_min_size=1,
        pool_max_size=4_096,
        max_waiting=0,
        cache_ttl_s=0.0,
        cache_max_entries=0,
    ),
    DataFlowType.TELEMETRY: DynamicBufferConfig(
        read_buffer_size=0,
        write_buffer_size=8 * 1024 * KIB,
        batch_size=2_000,
        prefetch_count=0,
        connect_timeout_s=5.0,
        read_timeout_s=10.0,
        pool_min_size=1,
        pool_max_size=1,
        max_waiting=50_000,
        cache_ttl_s=0.0,
        cache_max_entries=0,
    ),
}


class Flow(Protocol):
    """Anything that tells its state: a limiter, a pool, a link, a batcher, a stream."""

    def stats(self) -> FlowStats: ...


@runtime_checkable
class LearningFlow(Protocol):
    """A flow whose law takes samples from outside as well."""

    def learn(self, sample: Sample) -> None: ...


class AdaptiveBufferManager:
    """Finds the live flows of each kind. Holds no value of its own that could go stale."""

    def __init__(self, policy: Mapping[DataFlowType, DynamicBufferConfig] = POLICY) -> None:
        self._policy = dict(policy)
        self._sources: dict[DataFlowType, Callable[[], Iterable[Flow]]] = {}
        self._reported = {kind: Histogram() for kind in DataFlowType}

    def policy(self, flow_type: DataFlowType) -> DynamicBufferConfig:
        """Return the bounds a flow of this kind is built with."""
        return self._policy[flow_type]

    def attach(self, flow_type: DataFlowType, source: Callable[[], Iterable[Flow]]) -> None:
        """Say where the live flows of a kind are found; the newest source replaces the one before."""
        self._sources[flow_type] = source

    def flows(self, flow_type: DataFlowType) -> list[Flow]:
        """Return the live flows of a kind; none before the part that owns them is open."""
        source = self._sources.get(flow_type)
        return list(source()) if source is not None else []

    def get_config(self, flow_type: DataFlowType) -> DynamicBufferConfig:
        """Return the values in force now; where no flow is live, the policy it will start from."""
        policy = self._policy[flow_type]
        limits = [flow.stats().value for flow in self.flows(flow_type)]
        if not limits:
            return policy
        values = asdict(policy)
        if flow_type in _BATCHED:
            values["batch_size"] = max(1, round(max(limits)))
        else:
            values["pool_max_size"] = max(policy.pool_min_size, round(sum(limits)))
        return DynamicBufferConfig(**values)

    def report_metrics(
        self,
        flow_type: DataFlowType,
        *,
        latency_ms: float,
        throughput: float = 1.0,
        ok: bool = True,
        label: str = "reported",
    ) -> None:
        """Take one observation from outside: a call that did not pass through our own flow.

        It is counted (`reported` in `get_buffer_stats`), and fed to the laws that judge by the time of
        single calls; our own calls are measured by the flows themselves and need no report.
        `throughput` is the work done by the call (tokens, rows, commands), not a rate. Raises
        ValueError when a number cannot be an observation.
        """
        if not (math.isfinite(latency_ms) and latency_ms >= 0):
            msg = f"latency_ms must be a finite number of at least 0, not {latency_ms}"
            raise ValueError(msg)
        if not (math.isfinite(throughput) and throughput > 0):
            msg = f"throughput is the work of this call and must be above 0, not {throughput}"
            raise ValueError(msg)
        self._reported[flow_type].record(latency_ms / 1e3)
        for flow in self.flows(flow_type):
            if isinstance(flow, LearningFlow):
                stats = flow.stats()
                finished_s = time.perf_counter()
                flow.learn(
                    Sample(
                        label,
                        finished_s - latency_ms / 1e3,
                        finished_s,
                        0.0,
                        stats.inflight + 1,
                        stats.value,
                        Outcome.OK if ok else Outcome.OVERLOAD,
                        throughput,
                    )
                )

    def get_buffer_stats(self) -> dict[str, object]:
        """Every flow with its value, bounds, law and last reasons, ready for JSON."""
        return {
            kind.value: {
                "config": asdict(self.get_config(kind)),
                "policy": asdict(self._policy[kind]),
                "flows": [_plain(flow.stats()) for flow in self.flows(kind)],
                "reported": _summary(self._reported[kind]),
            }
            for kind in DataFlowType
        }


_BATCHED = frozenset({DataFlowType.TELEMETRY})
_SHOWN_DECISIONS = 10


def _plain(stats: FlowStats) -> dict[str, object]:
    values = asdict(stats)
    values["decisions"] = [asdict(record) for record in stats.decisions[-_SHOWN_DECISIONS:]]
    return {name: _finite(value) for name, value in values.items()}


def _summary(reported: Histogram) -> dict[str, float]:
    return {
        "count": reported.count,
        "latency_ms_p50": reported.quantile(0.5) * 1e3,
        "latency_ms_p99": reported.quantile(0.99) * 1e3,
    }


def _finite(value: object) -> object:
    """JSON has no infinity: a bound that is not there is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


adaptive_buffer_manager = AdaptiveBufferManager()
