"""A Prometheus collector over any set of flows: it reads `stats()` when it is scraped, never before.

Needs the extra `fluido[prometheus]` (prometheus-client).
"""

# ruff: noqa: E402 - the extra is asked for before anything of it is imported
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Protocol

from fluido._extras import need

need("prometheus", "prometheus_client")

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from fluido._metrics import BOUNDS_S, Buckets, FlowStats

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
HISTOGRAMS = {
    "waits": ("fluido_wait_seconds", "Wait in our queue."),
    "services": ("fluido_service_seconds", "Admission to end."),
}
_BOUNDS = tuple(str(bound_s) for bound_s in BOUNDS_S)


class HasStats(Protocol):
    """Any flow."""

    def stats(self) -> FlowStats:
        """The flow at this moment."""


class FlowCollector(Collector):
    """`REGISTRY.register(FlowCollector(lambda: flows))`; the callable may answer other flows every time.

    The label `flow` is the name of a flow. Of several with the same name and kind the second one is `name-2`,
    and so on, for as long as it lives: no two flows are ever one series. Give names to tell them apart:
    `Sharing(name=)` or `client_name=` of Redis, `pool_logging_name=` of SQLAlchemy, `name=` of an engine.
    """

    def __init__(self, flows: Callable[[], Iterable[HasStats]]) -> None:
        self._flows = flows
        # Who had which label at the last scrape. It keeps those flows alive until the next one, so that no
        # other object can have their identity.
        self._named: list[tuple[HasStats, str, str]] = []

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: registering must not read the flows."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one row per flow."""
        flows = list(self._flows())
        stats = [flow.stats() for flow in flows]
        rows = list(zip(self._names(flows, stats), stats, strict=True))
        for field, (name, text) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            for label, row in rows:
                gauge.add_metric([label, row.kind], float(getattr(row, field)))
            yield gauge
        for field, (name, text) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=LABELS)
            for label, row in rows:
                counter.add_metric([label, row.kind], float(getattr(row, field)))
            yield counter
        longest = GaugeMetricFamily(
            "fluido_longest_wait_seconds",
            "How long the first of those who wait now has waited.",
            labels=LABELS,
        )
        for label, row in rows:
            longest.add_metric([label, row.kind], row.wait_ms_longest / 1e3)
        yield longest
        yield from _comparisons(rows)
        for field, (name, text) in HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, text, labels=LABELS)
            for label, row in rows:
                buckets: Buckets | None = getattr(row, field)
                if buckets is not None:
                    histogram.add_metric([label, row.kind], _cumulative(buckets), buckets.sum_s)
            yield histogram
        decisions = CounterMetricFamily(
            "fluido_decisions", "Decisions of the law, by reason.", labels=[*LABELS, "law", "reason"]
        )
        for label, row in rows:
            for reason, times in row.reasons.items():
                decisions.add_metric([label, row.kind, row.law, reason], times)
        yield decisions

    def _names(self, flows: Sequence[HasStats], stats: Sequence[FlowStats]) -> list[str]:
        """A label for each flow: what it had at the last scrape, or the first of its name that is free."""
        before = {(id(flow), kind): label for flow, kind, label in self._named}
        labels = [before.get((id(flow), row.kind), "") for flow, row in zip(flows, stats, strict=True)]
        for index, (label, row) in enumerate(zip(labels, stats, strict=True)):
            # A flow may have been given another name, and may be in the list twice.
            if not _is_of(label, row.name) or (label, row.kind) in _taken(labels[:index], stats):
                labels[index] = ""
        # Names as they were given come first: a number is put where no name stands.
        for numbers in (range(1, 2), count(2)):
            for index, row in enumerate(stats):
                taken = {label for label, other in zip(labels, stats, strict=True) if other.kind == row.kind}
                wishes = (row.name if number == 1 else f"{row.name}-{number}" for number in numbers)
                labels[index] = labels[index] or next((wish for wish in wishes if wish not in taken), "")
        self._named = [(flow, row.kind, label) for flow, row, label in zip(flows, stats, labels, strict=True)]
        return labels


def _taken(labels: Sequence[str], stats: Sequence[FlowStats]) -> set[tuple[str, str]]:
    return {(label, row.kind) for label, row in zip(labels, stats, strict=False)}


def _is_of(label: str, name: str) -> bool:
    head, _, number = label.rpartition("-")
    return bool(label) and (label == name or (head == name and number.isdecimal()))


def _comparisons(rows: Iterable[tuple[str, FlowStats]]) -> Iterator[Metric]:
    """Of flows whose law compares: with which constant it began, and what it found last."""
    reference = GaugeMetricFamily(
        "fluido_limit_reference", "The constant that the user had: where the law began.", labels=LABELS
    )
    tried = GaugeMetricFamily(
        "fluido_compared_limit", "The value that was compared last with the one held.", labels=LABELS
    )
    gain = GaugeMetricFamily(
        "fluido_compared_gain",
        "How much more it did, as a share of what the other did; below zero: less.",
        labels=LABELS,
    )
    for label, row in rows:
        if row.reference:
            reference.add_metric([label, row.kind], row.reference)
        if row.compared:
            tried.add_metric([label, row.kind], row.compared["compared"])
            gain.add_metric([label, row.kind], row.compared["gain"])
    yield from (reference, tried, gain)


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    return [*zip(_BOUNDS, map(float, buckets.below), strict=True), ("+Inf", float(buckets.count))]
