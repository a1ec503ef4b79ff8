"""Servers that speak OpenAI's chat completions: llama.cpp's with slots and timings, and others without."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress

from fluido.errors import EngineUnavailable
from fluido.llm.call import Call, Delta, Timings
from fluido.llm.engine import EngineFacts, Pulse, SlotState
from fluido.llm.errors import (
    CacheFull,
    CallFailed,
    CallRejected,
    EngineBusy,
    ModelMissing,
    PromptTooLong,
    StreamBroken,
)
from fluido.llm.transport import ASK_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport, error_of
from fluido.llm.wire import decoded, events, mapping, number, text

CHAT = "/v1/chat/completions"
DONE = b"[DONE]"
LOADING_RETRY_S = 1.0
SLOTS_WAIT_S = 1.0
# After a cut the rest of a history stands elsewhere in the prompt. llama.cpp moves what it holds of it, in
# pieces of at least so many tokens, instead of computing it again.
REUSE_TOKENS = 64
# What llama.cpp says when the KV memory that its slots share is full.
FULL = ("Context size has been exceeded", "failed to find a memory slot", "no available kv")


class OpenAIEngine:
    """A llama.cpp server, or any other with the same chat endpoint.

    Slots, window and pinning are taken from `/props`; a server without it is served as one that tells
    nothing. `slots` states how many calls a server runs at once that does not say so. `extra` is sent with
    every call. A question about the engine may take `ask_s`, a connection `connect_s` (seconds).
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str = "",
        model: str = "",
        slots: int | None = None,
        api_key: str = "",
        extra: Mapping[str, object] | None = None,
        ask_s: float = ASK_TIMEOUT_S,
        connect_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._transport = Transport(base_url, headers=headers, ask_s=ask_s, connect_s=connect_s, clock=clock)
        self.name = name or self._transport.base_url
        self._model = model
        self._slots = slots
        self._extra = dict(extra or {})
        self._clock = clock
        self._is_llamacpp = False

    async def open(self) -> None:
        """Make the connections' session."""
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def facts(self, model: str = "") -> EngineFacts:
        """`/props` where there is one, else `/v1/models`.

        Raises EngineUnavailable, also while a model loads.
        """
        status, props = await self._transport.ask("GET", "/props")
        if status == 503:
            raise EngineUnavailable(f"{self.name} is loading its model", retry_after_s=LOADING_RETRY_S)
        self._is_llamacpp = status == 200 and "total_slots" in props
        if not self._is_llamacpp:
            return await self._plain_facts(model)
        window = int(number(mapping(props.get("default_generation_settings")).get("n_ctx")))
        return EngineFacts(
            name=self.name,
            kind="llamacpp",
            model=model or self._model or _short(text(props.get("model_alias"))),
            slots=self._slots or int(number(props["total_slots"])) or None,
            context_tokens=window,
            version=text(props.get("build_info")),
            pins_slots=True,
            ends_prefill=False,  # measured: what was begun of a prompt is computed to its end (docs/llm.md)
            runner={"num_ctx": window},
            instance=text(props.get("media_marker")) or text(props.get("build_info")),
            tells_restart=bool(text(props.get("media_marker"))),  # made anew at each start
        )

    async def _plain_facts(self, model: str) -> EngineFacts:
        status, listing = await self._transport.ask("GET", "/v1/models")
        if status != 200:
            raise EngineUnavailable(f"{self.name} answers {status} to /v1/models")
        data = listing.get("data")
        first = mapping(data[0]) if isinstance(data, list) and data else {}
        return EngineFacts(
            name=self.name,
            kind="openai",
            model=model or self._model or text(first.get("id")),
            slots=self._slots,
            context_tokens=int(number(first.get("max_model_len"))),
            version="",
        )

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """Such a server has its model."""

    async def has(self, model: str) -> bool | None:
        """Whether `/v1/models` lists it; a llama.cpp server answers whatever it is called."""
        if self._is_llamacpp or not model:
            return None
        _, listing = await self._transport.ask("GET", "/v1/models")
        data = listing.get("data")
        names = [text(mapping(entry).get("id")) for entry in (data if isinstance(data, list) else [])]
        return model in names if names else None

    async def pulse(self, model: str = "") -> Pulse:  # noqa: ARG002  (it has one model)
        """`/slots` of llama.cpp, which waits for the batch under way: then `/health` has to do."""
        if not self._is_llamacpp:
            await self._transport.ask("GET", "/v1/models")
            return Pulse()
        with suppress(EngineUnavailable):
            status, listing = await self._transport.ask_any("GET", "/slots", timeout_s=SLOTS_WAIT_S)
            if status == 200 and isinstance(listing, list):
                return Pulse(slots=tuple(_slot(mapping(entry)) for entry in listing))
        await self._transport.ask("GET", "/health")
        return Pulse()

    def body(self, call: Call, slot: int | None) -> dict[str, object]:
        """The request for one call: only what is set, and llama.cpp's own fields only to llama.cpp."""
        given = call.options.given()
        body: dict[str, object] = {
            "messages": [{"role": m.role, "content": m.content} for m in call.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        model = call.model or self._model
        if model:
            body["model"] = model
        if (num_predict := given.pop("num_predict", None)) is not None:
            body["max_tokens"] = num_predict
        if "stop" in given:
            given["stop"] = list(call.options.stop or ())
        if not self._is_llamacpp:
            given.pop("repeat_penalty", None)
        body.update(given)
        if call.response_format == "json":
            body["response_format"] = {"type": "json_object"}
        elif call.response_format is not None:
            schema = {"name": "answer", "schema": call.response_format}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self._is_llamacpp:
            body["cache_prompt"] = True
            body["n_cache_reuse"] = REUSE_TOKENS
            if slot is not None:
                body["id_slot"] = slot
            if call.think is not None:
                body["chat_template_kwargs"] = {"enable_thinking": call.think}
        body.update(self._extra)
        return body

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Answer one call; see `Engine.stream`."""
        reader = _Reader(self._clock, slot, self.name)
        async with self._transport.post(CHAT, self.body(call, slot)) as (status, pieces):
            if status != 200:
                raise self._refusal(status, await error_of(pieces), call)
            async with aclosing(_generator(events(pieces))) as stream:
                async for event in stream:
                    if event == DONE:
                        break
                    chunk = decoded(event)
                    if "error" in chunk:
                        raise self._broken(chunk, heard=reader.heard)
                    delta = reader.read(chunk)
                    if delta is not None:
                        yield delta
            yield reader.timings()

    def _refusal(self, status: int, reply: dict[str, object], call: Call) -> Exception:
        error = mapping(reply.get("error"))
        message = text(error.get("message")) or text(reply.get("error")) or f"status {status}"
        if "n_prompt_tokens" in error:
            return PromptTooLong(
                message,
                prompt_tokens=int(number(error["n_prompt_tokens"])),
                context_tokens=int(number(error.get("n_ctx"))),
            )
        if any(sign in message for sign in FULL):
            return CacheFull(f"{self.name}: {message}")
        if status == 404:
            return ModelMissing(message, model=call.model)
        if status in {429, 503}:
            return EngineBusy(f"{self.name}: {message}", retry_after_s=LOADING_RETRY_S)
        if 400 <= status < 500 and status not in {401, 403, 407}:
            return CallRejected(message, status=status)
        if status < 500:
            return EngineUnavailable(f"{self.name} answers {status}: {message}")
        return CallFailed(f"{self.name} answers {status}: {message}", status=status)

    def _broken(self, chunk: dict[str, object], *, heard: bool) -> Exception:
        error = chunk["error"]
        message = text(error) or text(mapping(error).get("message")) or "error without a text"
        said = f"{self.name} broke off: {message}"
        if any(sign in message for sign in FULL):
            return CacheFull(said)
        return StreamBroken(said, told=True) if heard else CallFailed(said, status=500)


class _Reader:
    """Collects what the chunks of one answer tell."""

    def __init__(self, clock: Callable[[], float], slot: int | None, engine: str) -> None:
        self._clock = clock
        self._started_s = clock()
        self._first_s: float | None = None
        self._slot = slot
        self._engine = engine
        self._finish = ""
        self._pieces = 0
        self._server: dict[str, object] = {}
        self._usage: dict[str, object] = {}

    @property
    def heard(self) -> bool:
        """Whether a word was said."""
        return self._first_s is not None

    def read(self, chunk: dict[str, object]) -> Delta | None:
        """One chunk; the text in it, if any."""
        self._server = mapping(chunk.get("timings")) or self._server
        self._usage = mapping(chunk.get("usage")) or self._usage
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return None
        choice = mapping(choices[0])
        self._finish = text(choice.get("finish_reason")) or self._finish
        delta = mapping(choice.get("delta"))
        said = text(delta.get("content"))
        thought = text(delta.get("reasoning_content")) or text(delta.get("reasoning"))
        if not said and not thought:
            return None
        self._pieces += 1
        if self._first_s is None:
            self._first_s = self._clock()
        return Delta(said, thought)

    def timings(self) -> Timings:
        """The end. Raises StreamBroken when the server never said why it stopped."""
        if not self._finish:
            raise StreamBroken(f"{self._engine} closed the stream without an end")
        now_s = self._clock()
        total_s = now_s - self._started_s
        ttft_s = (now_s if self._first_s is None else self._first_s) - self._started_s
        prefill_s = number(self._server.get("prompt_ms")) / 1e3
        decode_s = number(self._server.get("predicted_ms")) / 1e3
        if not self._server:  # a server that tells nothing: the first token ends the prefill
            prefill_s, decode_s = ttft_s, total_s - ttft_s
        details = mapping(self._usage.get("prompt_tokens_details"))
        cached = self._server.get("cache_n", details.get("cached_tokens"))
        fresh = number(self._server.get("prompt_n"))
        prompt = number(self._usage.get("prompt_tokens")) or fresh + number(cached)
        output = number(self._server.get("predicted_n")) or number(self._usage.get("completion_tokens"))
        return Timings(
            queue_s=max(0.0, total_s - prefill_s - decode_s),
            load_s=0.0,
            prefill_s=prefill_s,
            decode_s=decode_s,
            ttft_s=ttft_s,
            total_s=total_s,
            prompt_tokens=int(prompt),
            cached_tokens=None if cached is None else int(number(cached)),
            output_tokens=int(output) or self._pieces,
            finish_reason=self._finish,
            slot=self._slot,
            engine=self._engine,
        )


async def _generator(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for item in source:
        yield item


def _slot(entry: dict[str, object]) -> SlotState:
    return SlotState(
        slot=int(number(entry.get("id"))),
        busy=entry.get("is_processing") is True,
        task=int(number(entry["id_task"])) if "id_task" in entry else -1,
        prompt_tokens=int(number(entry.get("n_prompt_tokens"))),
    )


def _short(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".gguf")
