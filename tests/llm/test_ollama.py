import json

import pytest

from fluido.llm import (
    Call,
    CallFailed,
    CallRejected,
    Delta,
    EngineBusy,
    Message,
    ModelMissing,
    OllamaEngine,
    Options,
    PromptTooLong,
    RunnerProfile,
    StreamBroken,
    Timings,
)
from fluido.llm.engines._modelfile import modelfile_parameters

pytestmark = pytest.mark.anyio

SHOW = {
    "parameters": 'temperature                    0.2\nstop                           "<end>"\nstop  "x y"\n',
    "capabilities": ["completion", "thinking"],
}
FINAL = {
    "done": True,
    "done_reason": "stop",
    "message": {"content": ""},
    "total_duration": 100_000_000,
    "load_duration": 10_000_000,
    "prompt_eval_duration": 20_000_000,
    "eval_duration": 30_000_000,
    "prompt_eval_count": 12,
    "eval_count": 2,
}


def line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def says(content: str, thinking: str = "") -> bytes:
    return line({"message": {"content": content, "thinking": thinking}, "done": False})


@pytest.fixture
async def ollama(server):
    server.json("/api/version", {"version": "0.20.0"})
    server.json("/api/show", SHOW)
    server.json("/api/ps", {"models": [{"name": "m:latest", "context_length": 2048}]})
    server.json("/api/tags", {"models": [{"name": "m:latest"}]})
    server.pieces("/api/chat", says("ñ", "hm"), says("o"), line(FINAL))
    client = OllamaEngine(server.url, name="o")
    await client.open()
    yield client
    await client.close()


async def collect(engine: OllamaEngine, call: Call | None = None) -> tuple[str, Timings]:
    call = call or Call((Message("user", "hola"),), model="m")
    items = [item async for item in engine.stream(call)]
    assert isinstance(items[-1], Timings)
    return "".join(item.text for item in items[:-1] if isinstance(item, Delta)), items[-1]


async def test_facts_tell_window_author_and_thinking(ollama) -> None:
    facts = await ollama.facts()
    assert (facts.model, facts.slots, facts.context_tokens, facts.thinks) == ("m:latest", None, 2048, True)
    assert facts.defaults == Options(temperature=0.2, stop=("<end>", "x y"))
    assert facts.version == "0.20.0"
    assert (facts.slots, facts.usual_slots) == (None, 4), "OLLAMA_NUM_PARALLEL is not told"


async def test_every_call_carries_the_same_runner_options(ollama, server) -> None:
    await ollama.facts("m")
    server.json("/api/ps", {"models": [{"name": "m:latest", "context_length": 8192}]})
    await ollama.facts("m")
    for options in (Options(), Options(num_predict=5, temperature=1.0), Options(seed=3)):
        await collect(ollama, Call((Message("user", "q"),), model="m", options=options))
    bodies = [body for path, body in server.requests if path == "/api/chat"]
    runner = [{k: v for k, v in b["options"].items() if k.startswith("num_c")} for b in bodies]
    assert runner == [{"num_ctx": 2048}] * 3
    assert not any("keep_alive" in b for b in bodies), "the administrator's stays"
    assert {b["truncate"] for b in bodies} == {False}


async def test_a_configured_profile_beats_what_is_resident(server, ollama) -> None:
    engine = OllamaEngine(server.url, profile={"m": RunnerProfile(num_ctx=1024, num_thread=2)})
    await engine.open()
    assert (await engine.facts("m")).context_tokens == 1024
    await collect(engine)
    assert server.requests[-1][1]["options"] == {"num_ctx": 1024, "num_thread": 2}
    await engine.close()


async def test_the_time_in_ollamas_queue_is_what_is_left(ollama) -> None:
    text, end = await collect(ollama)
    assert text == "ño"
    assert end.queue_s == pytest.approx(0.04)
    assert (end.load_s, end.prefill_s, end.decode_s) == pytest.approx((0.01, 0.02, 0.03))
    assert (end.prompt_tokens, end.output_tokens, end.cached_tokens) == (12, 2, None)


async def test_newer_versions_tell_what_was_cached(ollama, server) -> None:
    server.pieces("/api/chat", line({**FINAL, "prompt_eval_cached_count": 9}))
    assert (await collect(ollama))[1].cached_tokens == 9


async def test_thinking_is_passed_on(ollama) -> None:
    items = [item async for item in ollama.stream(Call((Message("user", "q"),), model="m"))]
    assert items[0] == Delta("ñ", "hm")


@pytest.mark.parametrize("end", [b"", line({"error": "model runner has unexpectedly stopped"}), b'{"mess'])
async def test_no_done_is_an_error(ollama, server, end: bytes) -> None:
    server.pieces("/api/chat", says("a"), end)
    with pytest.raises(StreamBroken):
        await collect(ollama)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "model 'm' not found", ModelMissing),
        (503, "server busy, please try again.  maximum pending requests exceeded", EngineBusy),
        (400, '"m" does not support chat', CallRejected),
        (400, "the input length exceeds the available context size", PromptTooLong),
        (500, "llama runner process has terminated", StreamBroken),
        (500, "invalid JSON schema in format", CallFailed),
    ],
)
async def test_refusals_are_named(ollama, server, status, message, kind) -> None:
    server.json("/api/chat", {"error": message}, status=status)
    with pytest.raises(kind) as caught:
        await collect(ollama)
    assert type(caught.value) is kind


async def test_a_missing_model_is_said_by_name(ollama, server) -> None:
    server.json("/api/show", {"error": "model 'q' not found"}, status=404)
    with pytest.raises(ModelMissing, match="'q' not found"):
        await ollama.facts("q")


async def test_names_that_come_near_a_missing_model_are_told(ollama, server) -> None:
    server.json("/api/tags", {"models": [{"name": "llama3.2:latest"}, {"name": "qwen3:8b"}]})
    server.json("/api/show", {"error": "model 'llama3' not found"}, status=404)
    server.json("/api/chat", {"error": "model 'llama3' not found"}, status=404)
    for asking in (ollama.facts("llama3"), ollama.load("llama3")):
        with pytest.raises(ModelMissing, match="near names: llama3") as caught:
            await asking
        assert caught.value.near == ("llama3.2:latest",)
        assert caught.value.field == "model"


def test_modelfile_parameters() -> None:
    listing = 'num_ctx                        4096\nstop "</s>"\ntemperature 0.5\nstop "User:"\nuse_mmap true'
    assert modelfile_parameters(listing) == {
        "num_ctx": 4096,
        "stop": ["</s>", "User:"],
        "temperature": 0.5,
        "use_mmap": "true",
    }
