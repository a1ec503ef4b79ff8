"""Counts and times of requests by route template, as pure ASGI."""

import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.incidents import incidents
from fluido.telemetry.prometheus import FlowCollector, HasStats

from .engine_metrics import EngineCollector
from .history_metrics import HistoryCollector
from .incident_metrics import IncidentCollector
from .recent import RecentTimes

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_COMMENT = b":"  # of an event stream: keeps the connection alive, and is not the answer yet
# The methods of RFC 9110 and PATCH: the closed set of their label.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Traffic:
    """The registry of one application.

    Labels are route templates, known methods and status codes: a closed set. `flows` is asked at each scrape
    for the flows that are live then.
    """

    def __init__(self, flows: Callable[[], Iterable[HasStats]]) -> None:
        self.recent = RecentTimes()
        self._registry = CollectorRegistry()
        self._registry.register(FlowCollector(flows))
        self._registry.register(EngineCollector(flows))
        self._registry.register(HistoryCollector(flows))
        self._registry.register(IncidentCollector(incidents))
        self.requests = Counter(
            "sentinel_http_requests",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.first_byte = Histogram(
            "sentinel_http_first_byte_seconds",
            "Time to the first byte of the answer; comments of an event stream are none.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.duration = Histogram(
            "sentinel_http_duration_seconds",
            "Time to the last byte of the answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "sentinel_http_in_flight", "Requests being answered now.", registry=self._registry
        )

    @property
    def registry(self) -> CollectorRegistry:
        """Every family of this application."""
        return self._registry

    def render(self) -> bytes:
        """Return the text format."""
        return generate_latest(self._registry)


def _method(scope: Scope) -> str:
    """HTTP lets a client invent methods; a label may not be invented."""
    return scope["method"] if scope["method"] in METHODS else "other"


class Measured:
    """Feeds `Traffic` from every request that passes."""

    def __init__(
        self, app: ASGIApp, traffic: Traffic, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._traffic = traffic
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        status = "aborted"
        first: float | None = None

        async def observed(message: Message) -> None:
            nonlocal status, first
            if message["type"] == "http.response.start":
                status = str(message["status"])
            elif first is None and not message.get("body", b"").startswith(_COMMENT):
                first = self._clock()
            await send(message)

        self._traffic.in_flight.inc()
        try:
            await self._app(scope, receive, observed)
        finally:
            self._traffic.in_flight.dec()
            # The router leaves the template in the scope; what it did not know is one label, not many.
            route = getattr(scope.get("route"), "path", "unknown")
            self._traffic.requests.labels(_method(scope), route, status).inc()
            total_s = self._clock() - started
            first_s = None if first is None else first - started
            self._traffic.duration.labels(route).observe(total_s)
            if first_s is not None:
                self._traffic.first_byte.labels(route).observe(first_s)
            failed = status.startswith("5") or status == "429"
            self._traffic.recent.record(route, first_s=first_s, total_s=total_s, failed=failed)
