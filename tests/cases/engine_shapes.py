# ruff: noqa: E501  (the texts as they come)
"""Servers with the behaviour of vLLM, LM Studio, a thinking model, LiteLLM and Ollama, on loopback.

Each checks what it gets and refuses as its original does; the texts are the originals'.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from aiohttp import web

TOKEN_CHARS = 4
Body = dict[str, Any]


class Served(Protocol):
    """Whatever answers requests."""

    url: str

    async def handle(self, request: web.Request, /) -> web.StreamResponse: ...


Shape = TypeVar("Shape", bound=Served)


class Refused(Exception):
    """What the server answers instead of an answer."""

    def __init__(self, status: int, reply: object) -> None:
        super().__init__(str(reply))
        self.status = status
        self.reply = reply


class OpenAIShape:
    """A server with OpenAI's chat endpoint. `answer` says the pieces of an answer and why it ends."""

    models: tuple[Body, ...] = ({"id": "m", "object": "model"},)
    model_required = False
    window = 0
    key = ""
    last_words: tuple[bytes, ...] = (b"data: [DONE]\n\n",)
    stays_open = False
    chunk_fields: Mapping[str, object] = MappingProxyType({})

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def routes(self) -> dict[str, Callable[[], object]]:
        """What is answered to a GET, beside the models."""
        return {}

    def tokens(self, body: Body) -> int:
        """The length of a prompt."""
        return sum(8 + len(str(m.get("content") or "")) // TOKEN_CHARS for m in body["messages"])

    def check(self, body: Body) -> None:
        """Raise Refused for what this server does not take."""
        if self.model_required and body.get("model") not in {m["id"] for m in self.models}:
            raise Refused(404, self.error(f"The model `{body.get('model')}` does not exist.", 404))

    def error(self, message: str, code: int = 400) -> object:
        """An error in this server's shape."""
        return {"error": {"message": message, "type": "BadRequestError", "code": code}}

    def answer(self, body: Body) -> tuple[list[Body], str]:
        """The deltas, and the finish reason."""
        bound = body.get("max_tokens") or 10**9
        pieces = [{"content": f"w{n} "} for n in range(min(bound, 5))]
        return pieces, "stop" if bound >= 5 else "length"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append(dict(request.headers))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if request.method == "GET":
            pages = {"/v1/models": lambda: {"object": "list", "data": list(self.models)}, **self.routes()}
            page = pages.get(request.path)
            return web.json_response(page() if page else {"detail": "Not Found"}, status=200 if page else 404)
        if request.path != "/v1/chat/completions":
            return web.json_response({"detail": "Not Found"}, status=404)
        body = await request.json()
        self.bodies.append(body)
        try:
            self.check(body)
        except Refused as error:
            return web.json_response(error.reply, status=error.status)
        return await self.stream(request, body)

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas, finish = self.answer(body)
        for delta in deltas:
            await self.say(response, {"choices": [{"delta": delta, "finish_reason": None}]})
        await self.say(response, {"choices": [{"delta": {}, "finish_reason": finish}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"prompt_tokens": self.tokens(body), "completion_tokens": len(deltas)}
            await self.say(response, {"choices": [], "usage": usage})
        for words in self.last_words:
            await response.write(words)
        if self.stays_open:
            await asyncio.Event().wait()  # until the client is gone
        return response

    async def say(self, response: web.StreamResponse, chunk: Body) -> None:
        await response.write(b"data: " + json.dumps({**chunk, **self.chunk_fields}).encode() + b"\n\n")


class VLLM(OpenAIShape):
    """vLLM: the model has to be named, the window is told and held, the error is not wrapped."""

    model_required = True
    window = 512

    def __init__(self) -> None:
        super().__init__()
        self.models = ({"id": "org/model", "object": "model", "max_model_len": self.window},)

    def error(self, message: str, code: int = 400) -> object:
        return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": code}

    def check(self, body: Body) -> None:
        super().check(body)
        prompt, bound = self.tokens(body), body.get("max_tokens") or 0
        limit = f"This model's maximum context length is {self.window} tokens"
        if bound < 0:
            raise Refused(400, self.error(f"max_tokens must be at least 1, got {bound}."))
        if prompt >= self.window:
            raise Refused(
                400,
                self.error(
                    f"{limit}. However, your request has {prompt} input tokens. "
                    "Please reduce the length of the input messages."
                ),
            )
        if prompt + bound > self.window:
            raise Refused(
                400,
                self.error(
                    f"'max_tokens' or 'max_completion_tokens' is too large: {bound}. {limit} and your request "
                    f"has {prompt} input tokens ({bound} > {self.window} - {prompt})."
                ),
            )


class LMStudio(OpenAIShape):
    """LM Studio: an embedding model first, kinds and windows in a listing of its own, overflow under 200."""

    def __init__(self, window: int = 512) -> None:
        super().__init__()
        self.window = window
        self.models = tuple(
            {"id": name, "object": "model", "owned_by": "organization_owner"}
            for name in ("text-embedding-nomic-embed-text-v1.5", "qwen3-8b", "gemma-3-4b")
        )

    def routes(self) -> dict[str, Callable[[], object]]:
        listing = [
            {"id": "text-embedding-nomic-embed-text-v1.5", "type": "embeddings", "state": "loaded"},
            {"id": "qwen3-8b", "type": "llm", "state": "not-loaded", "max_context_length": 32768},
            {
                "id": "gemma-3-4b",
                "type": "vlm",
                "state": "loaded",
                "max_context_length": 131072,
                "loaded_context_length": self.window,
            },
        ]
        return {"/api/v0/models": lambda: {"object": "list", "data": listing}}

    async def stream(self, request: web.Request, body: Body) -> web.StreamResponse:
        if self.tokens(body) < self.window:
            return await super().stream(request, body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        said = (
            f"Trying to keep the first {self.tokens(body)} tokens when context the overflows. However, the model "
            f"is loaded with context length of only {self.window} tokens, which is not enough. Try to load the "
            "model with a larger context length, or provide a shorter input"
        )
        error = {"error": {"message": said}}
        await response.write(b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n")
        return response


class SilentWindow(LMStudio):
    """A server that refuses under 200 and tells its window nowhere else."""

    def routes(self) -> dict[str, Callable[[], object]]:
        return {}


class Thinking(OpenAIShape):
    """Qwen3 behind an OpenAI-compatible server: it thinks `thoughts` tokens before it says a word."""

    thoughts = 400
    in_text = False

    def answer(self, body: Body) -> tuple[list[Body], str]:
        if (body.get("chat_template_kwargs") or {}).get("enable_thinking") is False:
            return [{"content": "Santiago."}], "stop"
        bound = body.get("max_tokens") or 10**9
        field = "content" if self.in_text else "reasoning_content"
        deltas: list[Body] = [{field: "hm "} for _ in range(min(bound, self.thoughts))]
        if self.in_text and deltas:
            deltas[0] = {field: "<think>\nhm "}
        if bound <= self.thoughts:
            return deltas, "length"
        end = "\n</think>\n\nSantiago." if self.in_text else "Santiago."
        return [*deltas, {"content": end}], "stop"


class LiteLLM(OpenAIShape):
    """LiteLLM: a key, a name that is required, `error: null` in every chunk, `[DONE]` with a space."""

    key = "sk-secret"
    model_required = True
    chunk_fields: Mapping[str, object] = MappingProxyType({"error": None})
    last_words = (b"data: [DONE] \n\n",)


class Gemma(VLLM):
    """vLLM with the template of Gemma 2: no system role, and turns that alternate."""

    words = "System role not supported"

    def check(self, body: Body) -> None:
        super().check(body)
        roles = [message["role"] for message in body["messages"]]
        if "system" in roles:
            raise Refused(400, self.error(self.words))
        if any((role == "user") != (place % 2 == 0) for place, role in enumerate(roles)):
            raise Refused(
                400, self.error("Conversation roles must alternate user/assistant/user/assistant/...")
            )


class Strict(OpenAIShape):
    """A server that refuses fields it does not know, `stream_options` among them."""

    known = frozenset({"model", "messages", "stream", "max_tokens", "temperature", "top_p", "stop", "seed"})

    def check(self, body: Body) -> None:
        unknown = sorted(set(body) - self.known)
        if unknown:
            raise Refused(
                400, {"detail": [{"loc": ["body", unknown[0]], "msg": "Extra inputs are not permitted"}]}
            )


class Renamed(OpenAIShape):
    """OpenAI's newer models, and proxies in front of them: the bound has another name."""

    def check(self, body: Body) -> None:
        if "max_tokens" in body:
            raise Refused(
                400,
                self.error(
                    "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead."
                ),
            )


class Hangs(OpenAIShape):
    """A server that does not answer at all for what it does not know."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(("/api/", "/v1/model")) and request.path != "/v1/models":
            await asyncio.Event().wait()
        return await super().handle(request)


class KeepsOpen(OpenAIShape):
    """A server that says why it ended and neither `[DONE]` nor good-bye."""

    last_words = ()
    stays_open = True


class OllamaShape(OpenAIShape):
    """Ollama's native API: `loaded` names what is resident, each load of another is counted."""

    def __init__(self, *names: str, embedding: tuple[str, ...] = (), window: int = 4096) -> None:
        super().__init__()
        self.names = names or ("m:latest",)
        self.embedding = embedding
        self.window = window
        self.loaded: tuple[str, int | None] | None = None
        self.loads = 0
        self.key = ""
        self.think_in_text = False

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append(dict(request.headers))
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "unauthorized"}, status=401)
        body: Body = await request.json() if request.can_read_body else {}
        pages: dict[str, Callable[[Body], object]] = {
            "/api/version": lambda _: {"version": "0.20.0"},
            "/api/tags": lambda _: {"models": [{"name": name, "digest": name} for name in self.names]},
            "/api/ps": lambda _: {"models": self.resident()},
            "/api/show": self.show,
        }
        if request.path == "/api/chat":
            return await self.chat(request, body)
        page = pages.get(request.path)
        if page is None:
            return web.json_response({"error": "not found"}, status=404)
        try:
            return web.json_response(page(body))
        except Refused as error:
            return web.json_response(error.reply, status=error.status)

    def resident(self) -> list[Body]:
        if self.loaded is None:
            return []
        return [{"name": self.loaded[0], "context_length": self.loaded[1] or self.window}]

    def full(self, name: str) -> str:
        full = name if ":" in name else f"{name}:latest"
        for known in self.names:
            if known.casefold() == full.casefold():
                return known
        raise Refused(404, {"error": f"model '{name}' not found"})

    def show(self, body: Body) -> object:
        name = self.full(body["model"])
        return {"capabilities": ["embedding"] if name in self.embedding else ["completion"]}

    async def chat(self, request: web.Request, body: Body) -> web.StreamResponse:
        self.bodies.append(body)
        try:
            name = self.full(body["model"])
        except Refused as error:
            return web.json_response(error.reply, status=error.status)
        if name in self.embedding:
            return web.json_response({"error": f'"{name}" does not support chat'}, status=400)
        wanted = (name, (body.get("options") or {}).get("num_ctx"))
        if wanted != self.loaded:
            self.loads += 1
            self.loaded = wanted
        if body.get("keep_alive") == 0:
            self.loaded = None
        if not body["messages"]:
            return web.json_response({"done": True, "done_reason": "load"})
        window = wanted[1] or self.window
        if self.tokens(body) > window:
            return web.json_response({"error": "the input length exceeds the context length"}, status=400)
        response = web.StreamResponse()
        await response.prepare(request)
        said = "<think>hm</think>ok" if self.think_in_text else "ok"
        for piece in said:
            line = json.dumps({"message": {"content": piece}, "done": False})
            await response.write(line.encode() + b"\n")
        final = {"done": True, "done_reason": "stop", "prompt_eval_count": self.tokens(body), "eval_count": 2}
        await response.write(json.dumps({**final, "message": {"content": ""}}).encode() + b"\n")
        return response


@asynccontextmanager
async def running(shape: Shape) -> AsyncIterator[Shape]:
    """`shape` on a free port of 127.0.0.1."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", shape.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    shape.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    try:
        yield shape
    finally:
        await runner.cleanup()
