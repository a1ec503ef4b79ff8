"""Sentinel's policy for every kind of flow, and the live values of the flows that obey it.

The policy says between which bounds a law may move, who may wait and for how long. The values in
force are never kept here: `AdaptiveBufferManager` reads them from the flows themselves.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Protocol, runtime_checkable

from fluido import FlowStats, Histogram, Outcome, Sample

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

    Sizes are in bytes, times in seconds; None is what this kind of flow does not have, or what nobody may
    set there. `pool_min_size` and `pool_max_size` bound what may be in flight; in a live configuration
    `pool_max_size` is the limit in force now. `batch_size` is the most that one write carries: rows, or
    characters of a stream; live, the cap in force. `max_waiting` bounds the queue in front: who comes beyond
    it is refused at once, or, in front of a buffer, waits. Of a cache, `prefetch_count` values of together
    `read_buffer_size` are kept at hand in this process, and as many may wait to be written.
    """

    read_buffer_size: int | None = None
    write_buffer_size: int | None = None
    batch_size: int | None = None
    prefetch_count: int | None = None
    connect_timeout_s: float | None = None
    read_timeout_s: float | None = None
    pool_min_size: int | None = None
    pool_max_size: int | None = None
    max_waiting: int | None = None
    cache_ttl_s: float | None = None
    cache_max_entries: int | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                msg = f"{name} must be a finite number of at least 0, not {value}"
                raise ValueError(msg)
        least, most = self.pool_min_size, self.pool_max_size
        if least is not None and (least < 1 or most is None or most < least):
            msg = f"pool_min_size ({least}) must be at least 1 and at most pool_max_size ({most})"
            raise ValueError(msg)

    def need(self, name: str) -> float:
        """Return a value that the builder of a flow cannot do without; ValueError when there is none."""
        value = getattr(self, name)
        if value is None:
            msg = f"this kind of flow needs {name}"
            raise ValueError(msg)
        return float(value)


# What the environment may say otherwise (core/settings.py), and the size of one piece of a stream.
FIRST_TOKEN_S = 60.0
SLOW_CLIENT_S = 30.0
PIECE_CHARS = 16 * KIB

# Every number here is handed to an object that obeys it: LLM_INFERENCE to SentinelFluidoV2, DATABASE_QUERY
# to DynamicPostgreSQLSession and ConversationStore, CACHE_OPERATION to DynamicRedisCache and History,
# NETWORK_PACKET to Pace, TELEMETRY to Telemetry. What has one best value for everybody is not policy and
# stands in fluido: sockets are read 64 KiB at a time (256 KiB costs up to four times a message on asyncio),
# an engine gets 0.8 s to take a connection, the next block of a cursor is asked for while this one is
# consumed.
POLICY: Mapping[DataFlowType, DynamicBufferConfig] = {
    DataFlowType.LLM_INFERENCE: DynamicBufferConfig(
        read_timeout_s=FIRST_TOKEN_S,
        pool_max_size=64,
        max_waiting=256,
        cache_max_entries=256,
    ),
    DataFlowType.DATABASE_QUERY: DynamicBufferConfig(
        batch_size=20_000,
        connect_timeout_s=5.0,
        read_timeout_s=10.0,
        pool_min_size=2,
        pool_max_size=50,
        max_waiting=2_000,
    ),
    DataFlowType.CACHE_OPERATION: DynamicBufferConfig(
        read_buffer_size=32 * 1024 * KIB,
        write_buffer_size=4 * 1024 * KIB,
        batch_size=64,
        prefetch_count=1_024,
        connect_timeout_s=0.5,
        read_timeout_s=0.5,
        pool_max_size=16_384,
        max_waiting=65_536,
        cache_ttl_s=3_600.0,
        cache_max_entries=10_000,
    ),
    DataFlowType.NETWORK_PACKET: DynamicBufferConfig(batch_size=PIECE_CHARS, read_timeout_s=SLOW_CLIENT_S),
    DataFlowType.TELEMETRY: DynamicBufferConfig(
        write_buffer_size=8 * 1024 * KIB, batch_size=2_000, max_waiting=50_000
    ),
}

# Why a report of this kind teaches nobody: its flow has a law, and the law cannot use it.
NOT_FED: Mapping[DataFlowType, str] = {
    DataFlowType.LLM_INFERENCE: (
        "the law of an engine compares throughput at a known number of calls in flight, and how many were in "
        "flight around a call outside the queue is not known"
    ),
    DataFlowType.CACHE_OPERATION: (
        "the Redis link has no law: its window stands still, and a batch is what one tick produced"
    ),
}


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of a report: the names of the flows whose law took it, and why none when it is empty."""

    fed: tuple[str, ...]
    reason: str


class Flow(Protocol):
    """Anything that tells its state: a limiter, a pool, a link, a batcher, a stream."""

    def stats(self) -> FlowStats: ...


@runtime_checkable
class LearningFlow(Protocol):
    """A flow whose law takes samples from outside as well."""

    def stats(self) -> FlowStats: ...

    def learn(self, sample: Sample) -> None: ...


class AdaptiveBufferManager:
    """Finds the live flows of each kind. Holds no value of its own that could go stale."""

    def __init__(
        self,
        policy: Mapping[DataFlowType, DynamicBufferConfig] = POLICY,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._policy = dict(policy)
        self._sources: dict[DataFlowType, Callable[[], Iterable[Flow]]] = {}
        self._live: dict[DataFlowType, Callable[[], Mapping[str, float | None]]] = {}
        self._reported = {kind: Histogram() for kind in DataFlowType}

    def policy(self, flow_type: DataFlowType) -> DynamicBufferConfig:
        """Return the bounds a flow of this kind is built with."""
        return self._policy[flow_type]

    def attach(
        self,
        flow_type: DataFlowType,
        source: Callable[[], Iterable[Flow]],
        live: Callable[[], Mapping[str, float | None]] = dict,
    ) -> None:
        """Say where the live flows of a kind are found; the newest source replaces the one before.

        `live` answers the values in force now by the names of `DynamicBufferConfig`, read from the objects
        that obey them; what it leaves out is as in the policy.
        """
        self._sources[flow_type] = source
        self._live[flow_type] = live

    def flows(self, flow_type: DataFlowType) -> list[Flow]:
        """Return the live flows of a kind; none before the part that owns them is open."""
        source = self._sources.get(flow_type)
        return list(source()) if source is not None else []

    def get_config(self, flow_type: DataFlowType) -> DynamicBufferConfig:
        """Return the values in force now; where no flow is live, the policy it will start from."""
        policy = self._policy[flow_type]
        live = self._live.get(flow_type)
        return DynamicBufferConfig(**(asdict(policy) | dict(live()))) if live is not None else policy

    def report_metrics(
        self,
        flow_type: DataFlowType,
        *,
        latency_ms: float,
        throughput: float = 1.0,
        ok: bool = True,
        label: str = "reported",
    ) -> Reported:
        """Take one observation from outside: a call that did not pass through our own flow.

        It is counted (`reported` in `get_buffer_stats`), and every live flow of this kind whose law can use
        it learns from it: for DATABASE_QUERY a statement, for TELEMETRY one write of `throughput` rows, for
        NETWORK_PACKET by how much a piece left later than it could have. Our own calls are measured by the
        flows themselves and need no report. `throughput` is the work done by the call (rows, statements),
        not a rate. Raises ValueError when a number cannot be an observation.
        """
        if not (math.isfinite(latency_ms) and latency_ms >= 0):
            msg = f"latency_ms must be a finite number of at least 0, not {latency_ms}"
            raise ValueError(msg)
        if not (math.isfinite(throughput) and throughput > 0):
            msg = f"throughput is the work of this call and must be above 0, not {throughput}"
            raise ValueError(msg)
        self._reported[flow_type].record(latency_ms / 1e3)
        if flow_type in NOT_FED:
            return Reported((), NOT_FED[flow_type])
        fed = []
        for flow in self.flows(flow_type):
            if isinstance(flow, LearningFlow):
                stats = flow.stats()
                now_s = self._clock()
                outcome = Outcome.OK if ok else Outcome.OVERLOAD
                inflight = stats.inflight + 1
                flow.learn(
                    Sample(
                        label,
                        now_s - latency_ms / 1e3,
                        now_s,
                        0.0,
                        inflight,
                        stats.value,
                        outcome,
                        throughput,
                    )
                )
                fed.append(stats.name)
        return Reported(tuple(fed), "learned" if fed else "no flow of this kind is live")

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


_SHOWN_DECISIONS = 10


def _plain(stats: FlowStats) -> dict[str, object]:
    values = asdict(replace(stats, waits=None, services=None))
    del values["waits"], values["services"]  # for exporters; the quantiles say it to people
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
