"""The gateway in front of the real Ollama: no reload for anybody's options, loads on nobody's behalf."""

import asyncio
import copy
import json
import re

import httpx
import pytest

from bench.llm.ollama_stage import loads
from embedded.synthetic import synthetic
from tests.gateway.conftest import Door, opened

pytestmark = [pytest.mark.anyio, pytest.mark.ollama]

# As the clients send them: Home Assistant, Continue, aider, a page with its own defaults, one without any.
OPTION_SETS: tuple[dict[str, object], ...] = (
    {"options": {"num_ctx": 8192}, "keep_alive": -1},
    {"options": {"num_ctx": 32768}, "keep_alive": 1800},
    {"options": {"num_ctx": 1234, "num_thread": 1}},
    {"options": {"num_batch": 64, "use_mmap": False}, "shift": False},
    {},
)


async def chat(door: Door, model: str, text: str, **more: object) -> dict:
    options = {"num_predict": 6, **dict(more.pop("options", {}))}  # type: ignore[call-overload]
    async with door.chat(text, model=model, options=options, **more) as reply:
        raw = await reply.read()
        assert reply.status == 200, raw
        lines = [json.loads(each) for each in raw.splitlines()]
    assert lines[-1]["done"] is True
    return lines[-1]


async def test_five_clients_with_five_option_sets_load_the_model_once(ollama_engine) -> None:
    model = ollama_engine.model.name
    async with opened(ollama_engine.url) as door:
        await chat(door, model, "warm")
        before = loads(ollama_engine)
        for turn in range(2):
            await asyncio.gather(
                *(
                    chat(door, model, f"question {turn}", **json.loads(json.dumps(more)))
                    for more in OPTION_SETS
                )
            )
        assert loads(ollama_engine) == before
        told = {each.notes for each in door.gateway.seen.last}
    assert any("num_ctx 8192->" in note for notes in told for note in notes)


async def test_v1_goes_by_the_native_api_and_keeps_the_window(ollama_engine) -> None:
    model = ollama_engine.model.name
    async with opened(ollama_engine.url) as door:
        await chat(door, model, "warm")
        before = loads(ollama_engine)
        asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5}
        async with door.post("/v1/chat/completions", asked) as reply:
            said = await reply.json()
            assert reply.status == 200, said
        assert said["usage"]["completion_tokens"] <= 5
        async with door.post("/v1/chat/completions", {**asked, "stream": True}) as reply:
            assert (await reply.read()).endswith(b"data: [DONE]\n\n")
        assert loads(ollama_engine) == before


async def test_a_client_that_leaves_during_the_load_does_not_end_it(ollama_engine) -> None:
    model = ollama_engine.model.name
    async with opened(ollama_engine.url) as door:
        await chat(door, model, "warm")
        async with door.post("/api/generate", {"model": model, "keep_alive": 0}) as reply:
            assert reply.status == 200
        first = asyncio.ensure_future(chat(door, model, "first"))
        second = asyncio.ensure_future(chat(door, model, "second"))
        await asyncio.sleep(0.05)
        first.cancel()
        assert (await second)["done"]


async def test_a_planned_window_grows_once_for_all_who_ask(ollama_engine) -> None:
    model = ollama_engine.model.name
    async with opened(ollama_engine.url, wishes="planned", most_context_tokens=8192) as door:
        await chat(door, model, "warm")
        before = loads(ollama_engine)
        now = door.gateway.admission.flows[0].facts.context_tokens
        wish = {"options": {"num_ctx": 2 * now}}
        await asyncio.gather(*(chat(door, model, f"q{i}", **wish) for i in range(4)))
        assert loads(ollama_engine) == before + 1
        assert door.gateway.admission.flows[0].facts.context_tokens == 2 * now
        await chat(door, model, "as before")
        assert loads(ollama_engine) == before + 1


async def test_two_models_of_which_one_fits_are_served_in_turns(ollama_engine) -> None:
    other = copy.copy(ollama_engine)
    other.model = synthetic(2)
    await asyncio.to_thread(other.create)
    names = (ollama_engine.model.name, other.model.name)
    try:
        async with opened(ollama_engine.url) as door:
            await chat(door, names[0], "warm")
            before = loads(ollama_engine)
            ended = await asyncio.gather(*(chat(door, names[i % 2], f"question {i}") for i in range(24)))
            assert all(each["done"] for each in ended)
            assert loads(ollama_engine) - before <= 6, "direct: up to 24"
            assert {each.outcome for each in door.gateway.seen.last} == {"answered"}
    finally:  # other tests look at all that this engine has
        async with httpx.AsyncClient(base_url=ollama_engine.url, timeout=30) as client:
            gone = await client.request("DELETE", "/api/delete", json={"model": names[1]})
    assert gone.status_code == 200


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"])
async def test_a_prompt_that_is_too_long_is_refused_and_never_cut(ollama_engine, path: str) -> None:
    model, text = ollama_engine.model.name, "far too long " * 9000
    said = {"messages": [{"role": "user", "content": text}]} if "chat" in path else {"prompt": text}
    async with opened(ollama_engine.url) as door:
        async with door.post(path, {"model": model, **said, "stream": True}) as reply:
            raw = await reply.read()
            assert reply.status == 400, raw[:300]
        error = json.loads(raw)["error"]
        told = error if isinstance(error, str) else error["message"]
        assert "context" in told
        assert len(re.findall(r"\d{3,}", told)) == 2, told
