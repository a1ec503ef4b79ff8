"""Servers that speak OpenAI's chat completions: llama.cpp's with slots and timings, and others without."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace

from fluido.errors import EngineUnavailable
from fluido.llm._call import Call, Delta, Options, Timings
from fluido.llm._engine import EngineFacts, Pulse, SlotState
from fluido.llm._errors import (
    CacheFull,
    CallRejected,
    ModelMissing,
    StreamBroken,
)
from fluido.llm.engines._address import address, shown
from fluido.llm.engines._catalog import first_for_chat, near
from fluido.llm.engines._openai_answer import Reader
from fluido.llm.engines._openai_listing import Listing
from fluido.llm.engines._refusals import (
    NO_KEY,
    Habits,
    bound_too_large,
    is_error,
    locked,
    memory_is_full,
    names_no_model,
    prompt_too_long,
    refused_by_status,
    status_of,
    text_of,
)
from fluido.llm.engines._transport import ASK_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport, error_of, peeked, whole
from fluido.llm.engines._wire import DONE, decoded, events, mapping, number, text
from fluido.llm.prompt import without_system

# What stands at the end of an address as other clients want it.
ENDINGS = ("/chat/completions", "/v1")
LOADING_RETRY_S = 1.0
SLOTS_WAIT_S = 1.0
# After the finish reason only figures may come; a server that keeps the connection open has answered.
LAST_EVENTS_S = 1.0
# After a cut the rest of a history stands elsewhere in the prompt. llama.cpp moves what it holds of it, in
# pieces of at least so many tokens, instead of computing it again.
REUSE_TOKENS = 64
# What one person runs at home works on one to four calls at a time: LM Studio, KoboldCpp.
DESKTOP_SLOTS = 4
# A template that knows these belongs to a model that thinks before it speaks.
THINKING_SIGNS = ("<think>", "enable_thinking", "reasoning_content", "<|channel|>")


class OpenAIEngine:
    """A llama.cpp server, or any other with the same chat endpoint.

    `base_url` may end in `/v1` and may lack `http://`; `user:password@` or `:key@` in it, `api_key` and
    `headers` are sent with every request and never shown. Slots, window and pinning are taken from `/props`;
    a server without it is served as one that tells nothing. `slots` states how many calls a server runs at
    once that does not say so, `window` how many tokens a prompt with its answer may have (it wins over what
    the server says), `kv_tokens` how many all slots of a llama.cpp hold together (split slots: slots times
    window), which it does not tell. `extra` is sent with every call. `think_tags`: an answer that begins with
    `<think>` is told apart into thoughts and text. A question about the engine may take `ask_s`, a connection
    `connect_s` (seconds).
    """

    def __init__(
        self,
        base_url: str,
        *,
        name: str = "",
        model: str = "",
        slots: int | None = None,
        window: int | None = None,
        kv_tokens: int = 0,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
        think_tags: bool = True,
        ask_s: float = ASK_TIMEOUT_S,
        connect_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if window is not None and window < 1:
            raise ValueError(f"a window has at least one token, not {window}")
        if kv_tokens < 0:
            raise ValueError(f"kv_tokens counts tokens, 0 where nobody knows, not {kv_tokens}")
        where = address(base_url, endings=ENDINGS, api_key=api_key, headers=headers)
        self._transport = Transport(
            where.url, headers=where.headers, ask_s=ask_s, connect_s=connect_s, clock=clock
        )
        self.name = shown(name) or where.url
        self._listing = Listing(self._transport, self.name)
        self._model = model
        self._found = ""
        self._slots = slots
        self._window = window
        self._kv_tokens = kv_tokens
        self._extra = dict(extra or {})
        self._think_tags = think_tags
        self._clock = clock
        self._is_llamacpp = False
        self._habits = Habits()

    async def open(self) -> None:
        """Make the connections' session."""
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def facts(self, model: str = "") -> EngineFacts:
        """`/props` where there is one, else `/v1/models`.

        Raises EngineUnavailable, also while a model loads, and ModelMissing where no model is for chat.
        """
        status, props = await self._transport.ask("GET", "/props")
        if status == 503:
            raise EngineUnavailable(f"{self.name} is loading its model", retry_after_s=LOADING_RETRY_S)
        if status in NO_KEY:
            raise locked(self.name, status, "/props")
        self._is_llamacpp = status == 200 and "total_slots" in props
        if not self._is_llamacpp:
            return await self._plain_facts(model)
        window = self._window or int(number(mapping(props.get("default_generation_settings")).get("n_ctx")))
        self._found = _short(text(props.get("model_alias")))
        template = text(props.get("chat_template"))
        return EngineFacts(
            name=self.name,
            kind="llamacpp",
            model=model or self._model or self._found,
            slots=self._slots or int(number(props["total_slots"])) or None,
            context_tokens=window,
            version=text(props.get("build_info")),
            pins_slots=True,
            thinks=any(sign in template for sign in THINKING_SIGNS),
            ends_prefill=False,  # what was begun of a prompt is computed to its end (docs/results/llm)
            runner={"num_ctx": window},
            instance=text(props.get("media_marker")) or text(props.get("build_info")),
            kv_tokens=self._kv_tokens,
            tells_restart=bool(text(props.get("media_marker"))),  # made anew at each start
        )

    async def _plain_facts(self, model: str) -> EngineFacts:
        models = await self._listing.models(window_known=self._window is not None)
        asked = model or self._model
        chosen = next((each for each in models if each.name == asked), None)
        if not asked and models:
            chosen = first_for_chat(models)
            if chosen is None:
                names = ", ".join(each.name for each in models[:5])
                raise ModelMissing(f"{self.name} has no model for chat, only {names}: load one", model="")
        self._found = chosen.name if chosen is not None else ""
        window = self._window or (chosen.window_tokens if chosen is not None else 0)
        return EngineFacts(
            name=self.name,
            kind="openai",
            model=asked or self._found,
            slots=self._slots,
            context_tokens=window or await self._listing.told_window(),
            version="",
            usual_slots=DESKTOP_SLOTS if self._listing.is_desktop else None,
        )

    async def _names(self) -> list[str]:
        with suppress(EngineUnavailable):
            return await self._listing.names()
        return []

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """Such a server has its model."""

    async def has(self, model: str) -> bool | None:
        """Whether `/v1/models` lists it; a llama.cpp server answers whatever it is called."""
        if self._is_llamacpp or not model:
            return None
        names = await self._listing.names()
        return model in names if names else None

    async def pulse(self, model: str = "") -> Pulse:  # noqa: ARG002  (it has one model)
        """`/slots` of llama.cpp, which waits for the batch under way: then `/health` has to do."""
        if not self._is_llamacpp:
            await self._listing.ping()
            return Pulse()
        with suppress(EngineUnavailable):
            status, listing = await self._transport.ask_any("GET", "/slots", timeout_s=SLOTS_WAIT_S)
            if status == 200 and isinstance(listing, list):
                return Pulse(slots=tuple(_slot(mapping(entry)) for entry in listing))
        await self._transport.ask("GET", "/health")
        return Pulse()

    def body(self, call: Call, slot: int | None) -> dict[str, object]:
        """The request for one call: only what is set, and llama.cpp's own fields only to llama.cpp."""
        return self._body(call, slot, self._habits)

    def _body(self, call: Call, slot: int | None, habits: Habits) -> dict[str, object]:
        messages = call.messages if habits.system else without_system(call.messages)
        body: dict[str, object] = {
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
        }
        if habits.stream_options:
            body["stream_options"] = {"include_usage": True}
        if model := call.model or self._model or self._found:
            body["model"] = model
        body.update(self._given(call.options, habits.bound))
        if call.response_format is not None:
            body["response_format"] = _format(call.response_format)
        if call.think is not None:
            body["chat_template_kwargs"] = {"enable_thinking": call.think}
        if self._is_llamacpp:
            body["cache_prompt"] = True
            body["n_cache_reuse"] = REUSE_TOKENS
            if slot is not None:
                body["id_slot"] = slot
        body.update(self._extra)
        return body

    def _given(self, options: Options, bound_name: str) -> dict[str, object]:
        """What is set, under the names that this server knows."""
        given = options.given()
        bound = given.pop("num_predict", None)
        if isinstance(bound, int) and (bound >= 0 or self._is_llamacpp):
            given[bound_name] = bound  # below 0 means no bound, which others say by saying nothing
        if options.stop is not None:
            given["stop"] = list(options.stop)
        if "repeat_penalty" in given and not (self._is_llamacpp or self._listing.is_lm_studio):
            given["repetition_penalty"] = given.pop("repeat_penalty")
        return given

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Answer one call; see `Engine.stream`."""
        habits = self._habits
        while True:
            async with self._transport.post(self._listing.chat, self._body(call, slot, habits)) as reply:
                if reply.status == 200:
                    self._habits = replace(habits, is_proven=True)
                    async with aclosing(self._answer(reply.pieces, call, slot)) as answer:
                        async for item in answer:
                            yield item
                    return
                said = await error_of(reply.pieces)
            other = habits.after(reply.status, said)
            if other is None:
                raise await self._refusal(reply.status, said, call, reply.retry_after_s)
            habits = other

    async def _answer(
        self, pieces: AsyncIterator[bytes], call: Call, slot: int | None
    ) -> AsyncGenerator[Delta | Timings, None]:
        reader = Reader(self._clock, slot, self.name, tags=self._think_tags)
        begin, pieces = await peeked(pieces)
        if begin in {b"{", b"[", b"<"}:
            pieces = self._at_once(await whole(pieces))
        async with aclosing(_generator(events(pieces))) as stream:
            async for event in stream:
                if event.strip() == DONE:
                    reader.done()
                    break
                chunk = decoded(event)
                if is_error(chunk):
                    raise await self._broken(chunk, call, heard=reader.heard)
                if (delta := reader.read(chunk)) is not None:
                    yield delta
                if reader.is_finished:
                    async for late in _late(stream, reader):
                        yield late
                    break
        if (held := reader.rest()) is not None:
            yield held
        yield reader.timings()

    async def _at_once(self, reply: object) -> AsyncIterator[bytes]:
        """An answer that was not streamed, or an error under 200, as one event."""
        if not isinstance(reply, dict):
            raise EngineUnavailable(
                f"{self.name} answers no JSON to {self._listing.chat}: is it an OpenAI-compatible server?"
            )
        yield b"data: " + json.dumps(reply).encode() + b"\n\n"

    async def _refusal(
        self, status: int, reply: object, call: Call, retry_after_s: float | None = None
    ) -> Exception:
        said = text_of(reply)
        if too_long := prompt_too_long(reply, status):
            return too_long
        if memory_is_full(said):
            return CacheFull(f"{self.name}: {said}")
        if status == 404 or (status == 400 and names_no_model(said)):
            return await self._missing(status, said, call)
        if 400 <= status < 500 and bound_too_large(said):
            return CallRejected(
                f"the engine refused the call: {said}", field="num_predict", status=status, said=said
            )
        return refused_by_status(
            self.name,
            self._listing.chat,
            status,
            said,
            is_proven=self._habits.is_proven,
            retry_after_s=retry_after_s,
        )

    async def _missing(self, status: int, said: str, call: Call) -> Exception:
        model, names = call.model or self._model or self._found, await self._names()
        if status == 400 and (not names or model in names):
            return CallRejected(f"the engine refused the call: {said}", status=status, said=said)
        if "model" in said.lower() or (names and model not in names):
            return ModelMissing(
                said or f"model '{model}' not found",
                model=model,
                near=near(model, names),
                status=status,
                said=said,
            )
        path = self._listing.chat
        return EngineUnavailable(f"{self.name} answers 404 to {path}: it is no OpenAI-compatible server")

    async def _broken(self, chunk: dict[str, object], call: Call, *, heard: bool) -> Exception:
        """An error among the chunks. Before the first word it is what a status would have been."""
        said = text_of(chunk) or "error without a text"
        if memory_is_full(said):
            return CacheFull(f"{self.name} broke off: {said}")
        if heard:
            return StreamBroken(f"{self.name} broke off: {said}", told=True)
        status = status_of(chunk)
        return await self._refusal(status if status < 500 and status else 500, chunk, call)


async def _late(stream: AsyncIterator[bytes], reader: Reader) -> AsyncIterator[Delta]:
    """What comes after the finish reason: figures, seldom a word. Nothing of it can break an answer.

    Some servers say in every chunk why they will stop: as long as words come, the answer is not over.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + LAST_EVENTS_S
    with suppress(TimeoutError, StreamBroken):
        while True:
            async with asyncio.timeout_at(until_s):
                event = await anext(stream, DONE)
            if event.strip() == DONE:
                return
            if (delta := reader.read(decoded(event))) is not None:
                yield delta
                until_s = loop.time() + LAST_EVENTS_S


async def _generator(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for item in source:
        yield item


def _format(wanted: str | Mapping[str, object]) -> object:
    """A JSON schema, "json", or the field as OpenAI's clients write it."""
    if isinstance(wanted, str):
        return {"type": "json_object" if wanted == "json" else wanted}
    if wanted.get("type") in {"json_object", "json_schema", "text"}:
        return dict(wanted)
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted}}


def _slot(entry: dict[str, object]) -> SlotState:
    return SlotState(
        slot=int(number(entry.get("id"))),
        busy=entry.get("is_processing") is True,
        task=int(number(entry["id_task"])) if "id_task" in entry else -1,
        held_tokens=int(number(entry["n_prompt_tokens"])) if "n_prompt_tokens" in entry else None,
    )


def _short(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".gguf")
