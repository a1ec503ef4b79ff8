import asyncio
import json
from contextlib import aclosing

import pytest

from fluido.errors import EngineUnavailable
from fluido.llm import (
    Call,
    CallFailed,
    CallRejected,
    Delta,
    Dispatcher,
    EngineBusy,
    Message,
    ModelMissing,
    OpenAIEngine,
    Options,
    PromptTooLong,
    StreamBroken,
    Timings,
)

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
ASK = Call((Message("user", "hola"),), options=Options(num_predict=4, stop=("x",), repeat_penalty=1.1))
PROPS = {
    "total_slots": 4,
    "default_generation_settings": {"n_ctx": 2048},
    "model_alias": "/models/tiny.gguf",
    "build_info": "b1",
    "media_marker": "<one>",
}


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def chunk(content: str | None = None, finish: str | None = None, **more: object) -> bytes:
    return event({"choices": [{"delta": {"content": content}, "finish_reason": finish}], **more})


TIMES = {"cache_n": 7, "prompt_n": 25, "prompt_ms": 10.0, "predicted_n": 2, "predicted_ms": 5.0}
ANSWER = (chunk(), chunk("ñ"), chunk("o"), chunk(finish="stop", timings=TIMES), b"data: [DONE]\n\n")


@pytest.fixture
async def llamacpp(server):
    server.json("/props", PROPS)
    client = OpenAIEngine(server.url, name="e")
    await client.open()
    await client.facts()
    yield client
    await client.close()


async def collect(engine: OpenAIEngine, call: Call = ASK, slot: int | None = None) -> tuple[str, Timings]:
    items = [item async for item in engine.stream(call, slot=slot)]
    assert isinstance(items[-1], Timings)
    return "".join(item.text for item in items[:-1] if isinstance(item, Delta)), items[-1]


async def test_llamacpp_declares_itself(llamacpp) -> None:
    facts = await llamacpp.facts()
    assert (facts.kind, facts.slots, facts.context_tokens, facts.model) == ("llamacpp", 4, 2048, "tiny")
    assert facts.pins_slots
    assert facts.instance == "<one>"


async def test_an_administrator_may_say_how_much_all_slots_hold(llamacpp, server) -> None:
    """Nothing that llama-server says tells slots of their own memory from slots cut from one buffer."""
    for kv_tokens, together in ((0, False), (4 * 2048, True)):
        async with Dispatcher([OpenAIEngine(server.url, kv_tokens=kv_tokens)]) as dispatcher:
            purse = dispatcher.stations[0].slots.purse
            assert purse.takes(1500, 1500) is together
    with pytest.raises(ValueError, match="kv_tokens"):
        OpenAIEngine(server.url, kv_tokens=-1)


async def test_other_servers_are_served_without_slots(server) -> None:
    server.json("/props", {}, status=404)
    server.json("/v1/models", {"data": [{"id": "m", "max_model_len": 512}]})
    server.pieces(CHAT, *ANSWER)
    engine = OpenAIEngine(server.url)
    await engine.open()
    facts = await engine.facts()
    assert (facts.kind, facts.slots, facts.context_tokens, facts.model) == ("openai", None, 512, "m")
    await collect(engine, slot=1)
    body = server.requests[-1][1]
    assert not {"id_slot", "cache_prompt", "repeat_penalty"} & set(body)
    await engine.close()


async def test_deltas_then_timings(llamacpp, server) -> None:
    server.pieces(CHAT, *ANSWER)
    text, end = await collect(llamacpp, slot=2)
    assert text == "ño"
    assert (end.prompt_tokens, end.cached_tokens, end.output_tokens) == (32, 7, 2)
    assert (end.finish_reason, end.slot) == ("stop", 2)
    assert end.queue_s + end.prefill_s + end.decode_s == pytest.approx(max(end.total_s, 0.015), rel=0.05)
    body = server.requests[-1][1]
    assert body["id_slot"] == 2
    assert body["max_tokens"] == 4
    assert body["stop"] == ["x"]


@pytest.mark.parametrize("size", [1, 5, 64])
async def test_any_cut_of_the_stream_gives_the_same_text(llamacpp, server, size: int) -> None:
    data = b": ping\n\n".join(ANSWER)
    server.pieces(CHAT, *(data[i : i + size] for i in range(0, len(data), size)))
    assert (await collect(llamacpp))[0] == "ño"


async def test_an_end_nobody_announced_is_an_error(llamacpp, server) -> None:
    server.pieces(CHAT, *ANSWER[:3])
    with pytest.raises(StreamBroken):
        await collect(llamacpp)


async def test_a_missing_done_after_the_finish_is_forgiven(llamacpp, server) -> None:
    server.pieces(CHAT, *ANSWER[:4])
    assert (await collect(llamacpp))[1].finish_reason == "stop"


async def test_an_error_in_the_middle_is_an_error(llamacpp, server) -> None:
    server.pieces(CHAT, *ANSWER[:3], event({"error": {"message": "out of memory"}}))
    with pytest.raises(StreamBroken, match="out of memory"):
        await collect(llamacpp)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "Field 'temperature': type must be number"}, CallRejected),
        (400, {"message": "too long", "n_prompt_tokens": 99, "n_ctx": 10}, PromptTooLong),
        (404, {"message": "no such model"}, ModelMissing),
        (503, {"message": "Loading model"}, EngineBusy),
        (429, {"message": "slow down"}, EngineBusy),
        (500, {"message": "boom"}, CallFailed),
        (401, {"message": "key"}, EngineUnavailable),
    ],
)
async def test_refusals_are_named(llamacpp, server, status, error, kind) -> None:
    server.json(CHAT, {"error": error}, status=status)
    with pytest.raises(kind, match=error["message"].split("'")[0]) as caught:
        await collect(llamacpp)
    assert type(caught.value) is kind


async def test_leaving_closes_the_connection(llamacpp, server) -> None:
    server.pieces(CHAT, *ANSWER[:2], hold=True)
    async with aclosing(llamacpp.stream(ASK)) as stream:
        await anext(stream)
    await asyncio.wait_for(server.gone.wait(), 30)


async def test_nobody_there_is_said_at_once() -> None:
    engine = OpenAIEngine("http://127.0.0.1:1")
    await engine.open()
    with pytest.raises(EngineUnavailable):
        await engine.facts()
    with pytest.raises(EngineUnavailable):
        await collect(engine)
    await engine.close()


async def test_a_stale_connection_is_replaced_once() -> None:
    """A server that answers one request per connection and then hangs up without saying so."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        await reader.readexactly(length)
        data = b"".join(ANSWER)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        await writer.drain()
        served += 1
        await reader.read(1)  # the next request's first byte: too late
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    engine = OpenAIEngine(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    await engine.open()
    for _ in range(3):
        assert (await collect(engine))[0] == "ño"
    assert served == 3
    await asyncio.gather(*(collect(engine) for _ in range(4)))
    assert (await collect(engine))[0] == "ño"  # several are stale: one is not replaced by the next
    assert served == 8
    await engine.close()
    listener.close()
