"""Traces: what a request waited for and who worked on it. Needs `fluido[opentelemetry]`.

Only OpenTelemetry's API is used: spans go to the provider that the process has (`opentelemetry-instrument`,
or `trace.set_tracer_provider`); without one they cost almost nothing and go nowhere.
"""

from collections.abc import Mapping

from fluido._extras import need

need("opentelemetry", "opentelemetry")

from opentelemetry import propagate, trace  # noqa: E402 - the extra is named before its import fails
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer  # noqa: E402 - the same

from fluido.flow import _spans as spans  # noqa: E402 - the same
from fluido.flow._spans import Value  # noqa: E402 - the same

NAME = "fluido"


class _Part:
    """One part of a call as a span. It is never the current span: its parent is the request's."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, error: BaseException | None, attributes: Mapping[str, Value]) -> None:
        self._span.set_attributes(dict(attributes))
        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def install(tracer: Tracer | None = None) -> None:
    """Make a span of every part that fluido's flows tell of, from now on."""
    found = tracer or trace.get_tracer(NAME)

    def begin(name: str, attributes: Mapping[str, Value]) -> _Part:
        kind = SpanKind.INTERNAL if name.endswith("wait") else SpanKind.CLIENT
        return _Part(found.start_span(name, kind=kind, attributes=dict(attributes)))

    spans.listen(begin)


def uninstall() -> None:
    """Nobody listens any more."""
    spans.listen(None)


def request_span(tracer: Tracer, name: str, headers: Mapping[str, str], **attributes: Value) -> trace.Span:
    """Begin the span of an incoming request; a caller's `traceparent` is its parent."""
    context = propagate.extract(dict(headers))
    return tracer.start_span(name, context=context, kind=SpanKind.SERVER, attributes=attributes)
