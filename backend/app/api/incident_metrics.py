"""Counts of what the log has a line for, as one Prometheus family."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from app.core.incidents import Incidents


class IncidentCollector(Collector):
    """Reads the counts when it is scraped; the kinds are a closed set."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: registering must not read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family, a row for each kind."""
        family = CounterMetricFamily("sentinel_incidents", "Events with a line in the log.", labels=["kind"])
        for kind, count in self._incidents.counts.items():
            family.add_metric([kind.value], count)
        yield family
