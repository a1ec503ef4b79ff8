"""Case 3 of llm.md on a real llama.cpp, whose template demands that user and assistant take turns."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import aiohttp
import pytest

import embedded
from embedded.engine import EngineOptions
from embedded.synthetic import synthetic
from fluido.llm import Call, Delta, Dispatcher, Message, OpenAIEngine, Options, Timings
from tests.servers.sentinel import eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

# Mistral's rule, in the words of its template.
ALTERNATING = """
{%- set rest = messages[1:] if messages[0].role == 'system' else messages -%}
{%- for m in rest -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
{%- endif -%}
{%- endfor -%}
{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}
"""
SYSTEM = Message("system", "You are Sentinel. " * 10)


@pytest.fixture(scope="module")
def strict_engine(ground_folder) -> Iterator[embedded.Engine]:
    options = EngineOptions(slots=2, threads=1, chat_template=ALTERNATING)
    server = embedded.Engine(ground_folder, synthetic(), options, folder="alternating")
    try:
        server.start()
        yield server
    finally:
        server.stop()


async def test_the_server_refuses_two_questions_in_a_row(strict_engine) -> None:
    """The witness: without us such a conversation is over."""
    async with aiohttp.ClientSession() as session:
        for roles, fine in (
            (("user",), True),
            (("user", "user"), False),
            (("user", "assistant", "user"), True),
        ):
            body = {"messages": [{"role": role, "content": "hello"} for role in roles], "max_tokens": 1}
            async with session.post(f"{strict_engine.url}/v1/chat/completions", json=body) as reply:
                assert (reply.status == 200) is fine
                assert fine or "must alternate" in await reply.text()


async def is_idle(url: str) -> bool:
    """Whether the engine has noticed that the reader left."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/slots") as reply:
        return not any(slot["is_processing"] for slot in await reply.json())


async def test_a_conversation_goes_on_after_readers_left(strict_engine) -> None:
    async with Dispatcher([OpenAIEngine(strict_engine.url)]) as dispatcher:
        history = [SYSTEM]
        found: list[int] = []
        for turn in range(7):
            history.append(Message("user", f"Question {turn}: what is the number after {turn}?"))
            call = Call(tuple(history), conversation="c", options=Options(num_predict=8))
            said, end = "", None
            async with aclosing(dispatcher.stream(call)) as stream:
                async for item in stream:
                    if turn in {1, 2, 4}:
                        break  # the reader leaves
                    said += item.text if isinstance(item, Delta) else ""
                    end = item if isinstance(item, Timings) else None
            if end is not None:
                history.append(Message("assistant", said))
                found.append(end.cached_tokens or 0)
            else:
                await eventually(lambda: is_idle(strict_engine.url), within_s=30)
        assert dispatcher.stats().failed == 0
    assert len(found) == 4
    assert all(tokens > 60 for tokens in found[1:]), "what the engine holds is found again"


async def test_sentinel_answers_on_after_a_client_left(strict_engine, postgres_url) -> None:
    async with running(postgres_url, None, strict_engine.url) as sentinel:
        first = (await sentinel.chat("hello there")).json()
        conversation = first["conversation_id"]
        for _ in range(2):
            body = {"user_id": "ana", "message": "and this?", "conversation_id": conversation}
            async with sentinel.client.stream("POST", "/chat/stream", json=body) as reply:
                async for line in reply.aiter_lines():
                    if line.startswith(": accepted"):
                        break
            await asyncio.sleep(0)
        for number in range(3):
            answer = await sentinel.chat(f"turn {number}", conversation_id=conversation)
            assert answer.status_code == 200, answer.text
        stored = (await sentinel.client.get(f"/conversations/{conversation}?user_id=ana")).json()
        assert all(message["content"] for message in stored["messages"])
