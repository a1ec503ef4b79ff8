"""Cases 7, 8, 13, 14 and 20 of llm.md on the real Ollama."""

import hashlib
from datetime import UTC, datetime

import aiohttp
import pytest

from bench.llm.ollama_stage import loads
from embedded.ollama import TEMPLATE, built
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Message,
    ModelMissing,
    OllamaEngine,
    Options,
    PromptTooLong,
    Timings,
)
from tests.servers.absent import NO_OLLAMA
from tests.servers.sentinel import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.ollama,
    pytest.mark.deep,
    pytest.mark.skipif(built() is None, reason=NO_OLLAMA),
]
BARE = "bare:latest"


@pytest.fixture(scope="module")
def bare(ollama_engine) -> str:
    """A model whose Modelfile says nothing about a window, as most do."""
    with ollama_engine.model.path.open("rb") as weights:
        digest = "sha256:" + hashlib.file_digest(weights, "sha256").hexdigest()
    files = {ollama_engine.model.path.name: digest}
    ollama_engine._post("/api/create", {"model": BARE, "files": files, "template": TEMPLATE, "stream": False})
    return BARE


async def ask(url: str, path: str, body: object = None) -> dict:
    method = "GET" if body is None else "POST"
    async with aiohttp.ClientSession() as session, session.request(method, url + path, json=body) as reply:
        return await reply.json()


async def unload(url: str) -> None:
    for model in (await ask(url, "/api/ps"))["models"]:
        body = {"model": model["name"], "messages": [], "keep_alive": 0, "stream": False}
        await ask(url, "/api/chat", body)

    async def is_empty() -> bool:
        return not (await ask(url, "/api/ps"))["models"]

    await eventually(is_empty, within_s=30)


async def answer(dispatcher: Dispatcher, call: Call) -> tuple[str, Timings]:
    items = [item async for item in dispatcher.stream(call)]
    assert isinstance(items[-1], Timings)
    return "".join(item.text for item in items if isinstance(item, Delta)), items[-1]


def question(text: str = "hello", **more: object) -> Call:
    return Call((Message("user", text),), options=Options(num_predict=3), **more)


async def test_a_conversation_grows_over_a_window_that_nobody_told(ollama_engine, bare) -> None:
    """Case 8: OLLAMA_CONTEXT_LENGTH is in no Modelfile; Chinese and English in one conversation."""
    await unload(ollama_engine.url)
    async with Dispatcher([OllamaEngine(ollama_engine.url, model="bare")]) as dispatcher:
        history = [Message("system", "You are brief.")]
        longest = 0
        for turn in range(4):
            text = "\u654f\u6377\u7684\u68d5\u8272\u72d0\u72f8" if turn % 2 else "The quick brown fox jumps. "
            history.append(Message("user", f"{turn}: " + text * 40))
            call = Call(tuple(history), conversation="c", options=Options(num_predict=4))
            said, end = await answer(dispatcher, call)
            longest = max(longest, end.prompt_tokens)
            history.append(Message("assistant", said or "..."))
        assert dispatcher.stats().failed == 0
        assert longest <= 2048
        assert longest > 1024
        assert end.dropped_messages > 0, "the window was passed, and nobody was refused"


async def test_two_names_are_one_load_and_keep_alive_is_the_administrators(ollama_engine, bare) -> None:
    """Cases 13 and 20: loaded for ever with a window of its own, by whoever keeps this Ollama."""
    await unload(ollama_engine.url)
    body = {"model": bare, "messages": [], "keep_alive": -1, "options": {"num_ctx": 512}, "stream": False}
    await ask(ollama_engine.url, "/api/chat", body)
    before = loads(ollama_engine)
    async with Dispatcher([OllamaEngine(ollama_engine.url, model="bare")]) as dispatcher:
        for name in ("bare", "bare:latest", "", "library/bare"):
            _, end = await answer(dispatcher, question(model=name))
            assert end.model == bare
    assert loads(ollama_engine) == before
    (loaded,) = (await ask(ollama_engine.url, "/api/ps"))["models"]
    assert loaded["context_length"] == 512
    assert datetime.fromisoformat(loaded["expires_at"]).astimezone(UTC).year > 2100


async def test_a_model_that_is_missing_is_told_with_near_names(ollama_engine, bare) -> None:
    async with Dispatcher([OllamaEngine(ollama_engine.url, model="bare")]) as dispatcher:
        with pytest.raises(ModelMissing, match="near names: bare:latest") as caught:
            await answer(dispatcher, question(model="bear"))
        assert caught.value.status == 404
        assert "not found" in caught.value.said
        assert (await answer(dispatcher, question()))[1].model == bare


async def test_one_message_over_the_window_is_refused_and_the_next_is_answered(ollama_engine, bare) -> None:
    await unload(ollama_engine.url)
    async with Dispatcher([OllamaEngine(ollama_engine.url, model="bare")]) as dispatcher:
        with pytest.raises(PromptTooLong) as caught:
            await answer(dispatcher, question("word " * 9000))
        assert caught.value.context_tokens == 2048
        assert (await answer(dispatcher, question()))[1].prompt_tokens > 0
