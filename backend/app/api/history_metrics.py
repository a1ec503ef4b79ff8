"""Where histories were found, as Prometheus families."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.core.ports import HistoryFigures


@runtime_checkable
class FindsHistories(Protocol):
    """A flow that counts where it found the history of a question."""

    def histories(self) -> HistoryFigures: ...


class HistoryCollector(Collector):
    """Reads the one among the flows that finds histories, when it is scraped; no families without it."""

    def __init__(self, flows: Callable[[], Iterable[object]]) -> None:
        self._flows = flows

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: registering must not read the flows."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Counts by tier, what is kept, and what writing behind cost."""
        found = next((flow.histories() for flow in self._flows() if isinstance(flow, FindsHistories)), None)
        if found is None:
            return
        yield _counter("sentinel_histories_found", "Where a history was found.", "tier", found.found)
        yield _counter(
            "sentinel_histories_overtaken",
            "Histories that another message had come after.",
            "tier",
            found.overtaken,
        )
        yield GaugeMetricFamily("sentinel_histories_kept", "Histories in this process.", found.kept)
        yield GaugeMetricFamily("sentinel_histories_kept_bytes", "Their text.", found.kept_bytes)
        yield _counter(
            "sentinel_history_writes", "What became of histories for Redis.", "outcome", found.writes
        )
        yield CounterMetricFamily(
            "sentinel_history_write_seconds", "Time of writing histories to Redis, behind.", found.write_s
        )


def _counter(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
