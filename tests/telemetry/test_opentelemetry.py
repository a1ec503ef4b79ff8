"""What a trace of one question shows, through the real application on real servers."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import embedded
from fluido.flow._spans import part
from fluido.telemetry import opentelemetry
from tests.servers.sentinel import running

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def spans_of_process() -> InMemorySpanExporter:
    """The process' provider can be set once: whoever asks for a tracer gets this one."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(spans_of_process: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    spans_of_process.clear()
    yield spans_of_process
    opentelemetry.uninstall()


def test_a_part_that_fails_says_how(exporter: InMemorySpanExporter) -> None:
    with part("nobody.listens") as here:
        here.note(seen=False)
    opentelemetry.install()

    def fail() -> None:
        with part("fluido.db.wait", flow="db") as here:
            here.note(rows=3)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    (span,) = exporter.get_finished_spans()
    assert span.name == "fluido.db.wait"
    assert dict(span.attributes or {}) == {"flow": "db", "rows": 3}
    assert not span.status.is_ok
    assert span.events[0].name == "exception"


@pytest.mark.anyio
@pytest.mark.servers
async def test_a_question_is_one_trace_through_cache_database_queue_and_engine(
    exporter: InMemorySpanExporter,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SENTINEL_TRACES", "1")
    folder = tmp_path_factory.mktemp("ground")
    async with (
        embedded.stack(data_dir=folder, engine="synthetic") as ground,
        running(ground.database_url, ground.redis_url, ground.engine_url) as sentinel,
    ):
        first = await sentinel.chat("one two three", headers={"traceparent": CALLER})
        conversation = first.json()["conversation_id"]
        history = sentinel.system.assistant.history
        await history.flush()
        history.overlook(UUID(conversation))  # as if another replica had answered: Redis is asked
        (behind,) = [span for span in exporter.get_finished_spans() if span.name == "sentinel.cache"]
        assert behind.parent is None
        exporter.clear()
        answer = await sentinel.chat(
            "and then?",
            conversation_id=conversation,
            headers={"traceparent": CALLER, "x-request-id": "abc-1"},
        )
        assert answer.status_code == 200
        spans: dict[str, ReadableSpan] = {span.name: span for span in exporter.get_finished_spans()}
    request = spans["POST /chat"]
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == CALLER.split("-")[1]
    assert dict(request.attributes or {})["sentinel.request_id"] == "abc-1"
    for name in ("sentinel.cache", "fluido.llm.wait", "fluido.llm.answer"):
        parent = spans[name].parent
        assert parent is not None
        assert parent.span_id == request.context.span_id, name
        assert (spans[name].start_time or 0) >= (request.start_time or 0)
    assert "fluido.sqlalchemy.checkout" in spans
    attributes = dict(spans["fluido.llm.answer"].attributes or {})
    assert attributes["output_tokens"] == 6
    said = [str(value) for span in spans.values() for value in (span.attributes or {}).values()]
    assert not any("and then" in value for value in said)
