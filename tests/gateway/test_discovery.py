"""Discovery: what each engine has and holds, one name for a model, and engines that come, go and change."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

import embedded
from fluido.errors import EngineUnavailable
from fluido.gateway._config import EngineUrl
from fluido.gateway._discovery import Directory
from fluido.llm._errors import ModelMissing
from tests.cases.engine_shapes import VLLM, LMStudio, OllamaShape, OpenAIShape, Renamed, running

pytestmark = pytest.mark.anyio


class LlamaCpp(OpenAIShape):
    """llama.cpp's server as far as it is asked about itself."""

    models = ({"id": "/models/tiny.gguf", "object": "model", "owned_by": "llamacpp"},)

    def routes(self) -> dict[str, Callable[[], object]]:
        props = {"total_slots": 4, "default_generation_settings": {"n_ctx": 2048}, "build_info": "b9"}
        return {"/props": lambda: props}


class Router(OpenAIShape):
    """llama.cpp in router mode: several models, of which some are loaded."""

    models = (
        {"id": "a", "status": {"value": "loaded"}},
        {"id": "b", "status": {"value": "unloaded"}},
    )


class Digests(OllamaShape):
    """An Ollama whose one model has the digest that a test chooses."""

    def __init__(self, digest: str) -> None:
        super().__init__("m:latest")
        self.digest = digest

    async def handle(self, request: Any) -> Any:
        response = await super().handle(request)
        if request.path == "/api/tags":
            response.text = f'{{"models": [{{"name": "m:latest", "digest": "{self.digest}"}}]}}'
        return response


def at(*shapes: OpenAIShape) -> tuple[EngineUrl, ...]:
    return tuple(EngineUrl.parse(shape.url) for shape in shapes)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in the background
            await asyncio.sleep(0.02)


async def test_an_ollama_is_known_by_what_it_answers() -> None:
    shape = OllamaShape("qwen3:8b", "nomic:latest")
    shape.loaded = ("qwen3:8b", 8192)
    async with running(shape), Directory(at(shape)) as directory:
        (engine,) = directory.engines
        assert (engine.api, engine.kind, engine.version, engine.is_up) == ("ollama", "ollama", "0.20.0", True)
        assert engine.models == {"qwen3:8b": "qwen3:8b", "nomic:latest": "nomic:latest"}
        assert engine.resident == {"qwen3:8b": 8192}
        assert engine.window_of("qwen3:8b") == 8192
        for asked in ("nomic", "nomic:latest", "library/nomic", "NOMIC"):
            assert directory.resolve(asked) == ("nomic:latest", (engine,))
        with pytest.raises(ModelMissing, match="model 'qwen3:9b' not found; near names: qwen3:8b"):
            directory.resolve("qwen3:9b")


async def test_llamacpp_answers_to_any_name_where_it_is_alone() -> None:
    shape = LlamaCpp()
    async with running(shape), Directory(at(shape)) as directory:
        (engine,) = directory.engines
        assert (engine.api, engine.kind, engine.slots, engine.window) == ("openai", "llamacpp", 4, 2048)
        for asked in ("tiny", "tiny:latest", "/models/tiny.gguf", "gpt-4o", ""):
            assert directory.resolve(asked) == ("/models/tiny.gguf", (engine,))


async def test_beside_another_engine_llamacpp_is_asked_for_its_own_model_only() -> None:
    tiny, ollama = LlamaCpp(), OllamaShape("qwen3:8b")
    async with running(tiny), running(ollama), Directory(at(tiny, ollama)) as directory:
        assert [e.url for e in directory.resolve("tiny")[1]] == [tiny.url]
        assert [e.url for e in directory.resolve("qwen3:8b")[1]] == [ollama.url]
        with pytest.raises(ModelMissing):
            directory.resolve("gpt-4o")


async def test_other_servers_tell_models_and_windows() -> None:
    vllm, studio, router = VLLM(), LMStudio(), Router()
    async with running(vllm), running(studio), running(router), AsyncExitStack() as stack:
        directory = await stack.enter_async_context(Directory(at(vllm, studio, router)))
        first, second, third = directory.engines
        assert {e.kind for e in directory.engines} == {"openai"}
        assert first.slots is None
        told = [model["max_model_len"] for model in vllm.models]
        assert [first.window_of(name) for name in first.models] == told
        assert second.is_up
        assert set(third.resident) == {"a"}
        assert list(third.models) == ["a", "b"]


async def test_aliases_are_other_names() -> None:
    shape = OllamaShape("qwen3:8b")
    async with running(shape), Directory(at(shape), aliases={"gpt-4o": "qwen3:8b"}) as directory:
        assert directory.resolve("gpt-4o")[0] == "qwen3:8b"
        assert directory.resolve("GPT-4o:latest")[0] == "qwen3:8b"


async def test_of_two_digests_the_majority_is_the_model() -> None:
    one, two, three = Digests("old"), Digests("new"), Digests("new")
    async with running(one), running(two), running(three), Directory(at(one, two, three)) as directory:
        name, engines = directory.resolve("m")
        assert name == "m:latest"
        assert [engine.url for engine in engines] == [two.url, three.url]


async def test_an_engine_that_is_away_is_told_and_found_when_it_comes() -> None:
    async with running(OllamaShape()) as gone:
        pass  # nobody listens there any more
    async with Directory([EngineUrl.parse(gone.url, api="ollama")]) as directory:
        (engine,) = directory.engines
        assert not engine.is_up
        assert "does not answer" in engine.error
        with pytest.raises(EngineUnavailable, match="no engine that answers has the model 'm'"):
            directory.resolve("m")


async def test_what_answers_after_an_error_need_not_be_what_was_there() -> None:
    shape: Any = OllamaShape()
    behind = {"shape": shape}

    class Front(OpenAIShape):
        """One address, behind which a test changes what answers."""

        async def handle(self, request: Any) -> Any:
            return await behind["shape"].handle(request)

    front = Front()
    async with running(front), Directory(at(front)) as directory:
        (engine,) = directory.engines
        assert engine.kind == "ollama"
        behind["shape"] = LlamaCpp()
        await until(lambda: engine.kind == "llamacpp" and engine.is_up)
        assert engine.api == "openai"


async def test_wrong_addresses_and_keys_say_what_to_do() -> None:
    locked, other = OllamaShape(), Renamed()
    locked.key = "s3cret"
    other.models = ()
    async with running(locked), running(other):
        urls = (
            EngineUrl.parse(locked.url, api="ollama"),
            EngineUrl.parse(other.url, api="ollama"),
            EngineUrl.parse("http://127.0.0.1:9"),
        )
        async with Directory(urls) as directory:
            keyless, no_ollama, nobody = directory.engines
            assert "it wants a key" in keyless.error
            assert "is it an Ollama? Its address is like http://127.0.0.1:11434" in no_ollama.error
            assert "does not answer" in nobody.error
        async with Directory([EngineUrl.parse(locked.url, key="s3cret")]) as directory:
            assert directory.engines[0].is_up


async def test_without_engines_the_usual_ports_are_looked_at() -> None:
    ollama = OllamaShape()
    async with running(ollama):
        usual = (
            EngineUrl.parse(ollama.url, api="ollama"),
            EngineUrl.parse("http://127.0.0.1:9", api="openai"),
        )
        async with Directory(usual=usual) as directory:
            assert [engine.url for engine in directory.engines] == [ollama.url]
    async with Directory(usual=usual) as directory:
        assert directory.engines == ()
        with pytest.raises(EngineUnavailable, match="there is no engine"):
            directory.resolve("m")


async def test_looks_are_shared_and_a_second_old_at_most() -> None:
    shape = OllamaShape()
    async with running(shape), Directory(at(shape)) as directory:
        (engine,) = directory.engines
        before = shape.paths.count("/api/tags")
        await asyncio.gather(*(directory.look(engine) for _ in range(50)))
        assert shape.paths.count("/api/tags") <= before + 2
        await asyncio.gather(*(directory.fresh() for _ in range(50)))
        assert shape.paths.count("/api/tags") <= before + 3


async def test_closing_leaves_nothing_behind() -> None:
    shape = OllamaShape()
    async with running(shape):
        directory = Directory(at(shape))
        await directory.open()
        await directory.open()
        looking = asyncio.create_task(directory.fresh())
        await directory.close()
        await directory.close()
        await asyncio.wait({looking})
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not {name for name in names if name.startswith("fluido-gateway")}


@pytest.mark.servers
async def test_the_real_llamacpp(synthetic_engine: embedded.Engine) -> None:
    async with Directory([EngineUrl.parse(synthetic_engine.url)]) as directory:
        (engine,) = directory.engines
        assert engine.error == ""
        assert engine.kind == "llamacpp"
        assert engine.slots == synthetic_engine.options.slots
        assert engine.window == synthetic_engine.options.slot_tokens
        assert list(engine.resident) == [synthetic_engine.model.name]


@pytest.mark.servers
@pytest.mark.ollama
async def test_the_real_ollama(ollama_engine: embedded.Ollama) -> None:
    async with Directory([EngineUrl.parse(ollama_engine.url)]) as directory:
        (engine,) = directory.engines
        assert (engine.kind, engine.error) == ("ollama", "")
        name, engines = directory.resolve(ollama_engine.model.name)
        assert engines == (engine,)
        assert engine.models[name]
        assert "model_info" in await directory.show(engine, name)
