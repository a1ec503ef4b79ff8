"""Engines as Prometheus families: slots, what they hold, who waits in which lane."""

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fluido.llm import EngineFigures, Station, engine_figures

GAUGES: dict[str, tuple[str, Callable[[EngineFigures], float]]] = {
    "sentinel_engine_up": ("1 while the engine answers.", lambda engine: float(engine.up)),
    "sentinel_engine_slots": ("Slots, told or assumed.", lambda engine: float(len(engine.slots))),
    "sentinel_engine_slots_told": (
        "1 where the engine itself says how many slots it has.",
        lambda engine: float(engine.slots_told),
    ),
    "sentinel_engine_slots_busy": (
        "Slots at work.",
        lambda engine: float(sum(slot.busy_s is not None for slot in engine.slots)),
    ),
}
COUNTERS: dict[str, tuple[str, Callable[[EngineFigures], float]]] = {
    "sentinel_engine_resident_hits": (
        "Conversations found in the slot where they were expected.",
        lambda engine: engine.hits,
    ),
    "sentinel_engine_resident_misses": (
        "Conversations not found in the slot where they were expected.",
        lambda engine: engine.misses,
    ),
    "sentinel_engine_loads": ("Model loads that Sentinel asked for.", lambda engine: engine.loads),
    "sentinel_engine_unplanned_loads": (
        "Model loads inside an answer: another client changed the runner.",
        lambda engine: engine.unplanned_loads,
    ),
}


class EngineCollector(Collector):
    """Reads the engines among the flows when it is scraped."""

    def __init__(
        self, flows: Callable[[], Iterable[object]], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._flows = flows
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing up front: registering must not read the flows."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family per figure, one row per engine; the queue has one per lane."""
        now_s = self._clock()
        engines = [engine_figures(flow, now_s) for flow in self._flows() if isinstance(flow, Station)]
        if not engines:
            return
        for name, (text, read) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=["engine"])
            for engine in engines:
                gauge.add_metric([engine.name], read(engine))
            yield gauge
        for name, (text, read) in COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=["engine"])
            for engine in engines:
                counter.add_metric([engine.name], read(engine))
            yield counter
        lanes = GaugeMetricFamily("sentinel_engine_waiting", "Calls in the queue.", labels=["engine", "lane"])
        for engine in engines:
            for lane, waiting in engine.waiting.items():
                lanes.add_metric([engine.name, lane], waiting)
        yield lanes
