"""A Prometheus collector over any set of flows: it reads `stats()` when it is scraped, never before."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fluido.metrics import FlowStats

LABELS = ("flow", "kind")
GAUGES = {
    "value": ("fluido_limit", "What is in force now."),
    "floor": ("fluido_limit_floor", "The law never goes below."),
    "ceiling": ("fluido_limit_ceiling", "The law never goes above."),
    "inflight": ("fluido_inflight", "Calls admitted and not ended."),
    "waiting": ("fluido_waiting", "Callers in the queue."),
    "brake": ("fluido_brake", "Factor on the limit while calls fail; 1 while they do not."),
    "pinned": ("fluido_pinned", "1 while a pinned value keeps the law off."),
    "shadow": ("fluido_shadow", "1 while the law computes and does not act."),
}
COUNTERS = {
    "admitted": ("fluido_admitted", "Calls admitted."),
    "refused": ("fluido_refused", "Calls refused at once."),
    "timed_out": ("fluido_timed_out", "Callers whose deadline passed in the queue."),
    "cancelled": ("fluido_cancelled", "Callers cancelled in the queue."),
    "completed": ("fluido_completed", "Calls ended, failed ones too."),
    "overloads": ("fluido_overloads", "Calls that ended with a sign of overload."),
}
QUANTILES = {
    "fluido_wait_seconds_quantile": ("Wait in our queue since the start.", "wait_ms"),
    "fluido_service_seconds_quantile": ("Admission to end since the start.", "service_ms"),
}


class HasStats(Protocol):
    """Any flow."""

    def stats(self) -> FlowStats:
        """The flow at this moment."""


class FlowCollector(Collector):
    """`REGISTRY.register(FlowCollector(lambda: flows))`; the callable may answer other flows every time."""

    def __init__(self, flows: Callable[[], Iterable[HasStats]]) -> None:
        self._flows = flows

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: registering must not read the flows."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one row per flow."""
        stats = [flow.stats() for flow in self._flows()]
        for field, (name, text) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for row in stats:
                gauge.add_metric([row.name, row.kind], float(getattr(row, field)))
            yield gauge
        for field, (name, text) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for row in stats:
                counter.add_metric([row.name, row.kind], float(getattr(row, field)))
            yield counter
        longest = GaugeMetricFamily(
            "fluido_longest_wait_seconds",
            "How long the first of those who wait now has waited.",
            labels=LABELS,
        )
        for row in stats:
            longest.add_metric([row.name, row.kind], row.wait_ms_longest / 1e3)
        yield longest
        for name, (text, prefix) in QUANTILES.items():
            gauge = GaugeMetricFamily(name, text, labels=[*LABELS, "quantile"])
            for row in stats:
                for quantile, suffix in (("0.5", "p50"), ("0.99", "p99")):
                    value_ms = getattr(row, f"{prefix}_{suffix}")
                    gauge.add_metric([row.name, row.kind, quantile], value_ms / 1e3)
            yield gauge
        decisions = CounterMetricFamily(
            "fluido_decisions", "Decisions of the law, by reason.", labels=[*LABELS, "law", "reason"]
        )
        for row in stats:
            for reason, count in row.reasons.items():
                decisions.add_metric([row.name, row.kind, row.law, reason], count)
        yield decisions
