"""Calls, options, engines and the dispatcher."""

from contextlib import aclosing
from typing import Literal, TypedDict, assert_type

from fluido._metrics import FlowStats
from fluido.llm import (
    Call,
    Delta,
    Dispatcher,
    Engine,
    Lane,
    LlmStats,
    Message,
    OllamaEngine,
    OpenAIEngine,
    Options,
    Timings,
)


class Said(TypedDict):
    """A message as `openai` types it."""

    role: Literal["user"]
    content: str


class Answered:
    """An answer as `openai` and `ollama` return it."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None


async def a_program() -> None:
    """Everything of the guide."""
    engines: list[Engine] = [
        OllamaEngine("http://127.0.0.1:11434", model="llama3.2"),
        OpenAIEngine("http://127.0.0.1:8000/v1", model="m", api_key="k"),
    ]
    typed: Said = {"role": "user", "content": "Hello"}
    call = Call([{"role": "user", "content": "Hello"}], options={"max_tokens": 64})
    Call([typed, Answered(), Message("user", "And?")], lane=Lane.BACKGROUND, key="ana", deadline_s=5.0)
    Call((Message("user", "Hello"),), options=Options(max_tokens=64, temperature=0.0, stop=["END"]))
    assert_type(call.messages, tuple[Message, ...])
    assert_type(call.options, Options)
    assert_type(Options(stop="END").stop, tuple[str, ...] | None)
    async with Dispatcher(engines, max_waiting=64) as dispatcher:
        async with aclosing(dispatcher.stream(call)) as stream:
            async for item in stream:
                assert_type(item, Delta | Timings)
                print(item.text if isinstance(item, Delta) else item.ttft_s)
        assert_type(dispatcher.stats(), LlmStats)
        assert_type(dispatcher.flows()[0].stats(), FlowStats)


def what_is_refused() -> None:
    """Each of these is an error; mypy says so when it is none."""
    Call("Hello")  # type: ignore[arg-type]
    Call([("user", "Hello")])  # type: ignore[list-item]
    Call([{"role": "user", "content": "Hello"}], temperature=0.0)  # type: ignore[call-arg]
    Call([{"role": "user", "content": "Hello"}]).messages = ()  # type: ignore[misc]
    Options(max_token=64)  # type: ignore[call-arg]
    Options(temperature="hot")  # type: ignore[arg-type]
    OpenAIEngine(url="http://127.0.0.1:8000")  # type: ignore[call-arg]
    Dispatcher(OllamaEngine())  # type: ignore[arg-type]
