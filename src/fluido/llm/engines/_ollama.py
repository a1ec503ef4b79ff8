"""Ollama through its native API: the /v1 surface can neither hold the window nor tell an error mid-stream."""

import math
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from fluido.errors import EngineUnavailable
from fluido.llm._call import Call, Delta, Timings
from fluido.llm._engine import EngineFacts, Pulse
from fluido.llm._errors import CallRejected, ModelMissing, PromptTooLong, StreamBroken
from fluido.llm._profile import RUNNER_FIELDS, Profiles, RunnerProfile, Wishes, canonical, is_same
from fluido.llm.engines._address import address, shown
from fluido.llm.engines._catalog import is_for_chat, near
from fluido.llm.engines._modelfile import (
    authors_options,
    keep_alive_of,
    modelfile_parameters,
    seconds_of,
    seconds_until,
    trained_tokens,
)
from fluido.llm.engines._refusals import NO_KEY, locked, refused_by_status, runner_is_gone, text_of, too_long
from fluido.llm.engines._transport import ASK_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport, error_of
from fluido.llm.engines._wire import mapping, ndjson, number, text
from fluido.llm.prompt import ThinkTags

NANO = 1e-9
# What stands at the end of an address as other clients want it.
ENDINGS = ("/api/chat", "/api/generate", "/api", "/v1")
# Ollama's own, where neither we nor its administrator say otherwise.
DEFAULT_IDLE_S = 300.0
# Of a planned reload somebody has to know from where a window grows.
DEFAULT_WINDOW_TOKENS = 4096
# So many models are asked what they can, where nobody names one.
MOST_ASKED = 16
# OLLAMA_NUM_PARALLEL where nobody set it: 4 at most, by version and memory.
USUAL_SLOTS = 4
# Its runner died: not this call's doing, and the next one loads the model again.


class OllamaEngine:
    """One Ollama. Every call carries the same runner options, so nothing we send reloads a model.

    `base_url` may end in `/api` and may lack `http://`; `user:password@` or `:key@` in it, `api_key` and
    `headers` are sent with every request and never shown. `profile` is what the runner gets, for every model
    or (a mapping) for each; what it leaves open is taken from the resident model and then kept. `keep_alive`
    goes with every call: it belongs to the runner, and the last writer wins; None leaves the administrator's.
    `slots` states OLLAMA_NUM_PARALLEL, which Ollama does not tell. `wishes` is what becomes of a caller's own
    runner options; with `Wishes.PLANNED` a window grows on request up to `most_context_tokens` (of each slot;
    None: what the model was trained for, if memory allows). `extra` is sent with every call, its `options`
    among ours. `think_tags`: an answer that begins with `<think>` is told apart into thoughts and text. A
    question about the engine may take `ask_s`, a connection `connect_s` (seconds).
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:11434",
        *,
        name: str = "",
        model: str = "",
        slots: int | None = None,
        profile: RunnerProfile | Mapping[str, RunnerProfile] | None = None,
        keep_alive: str | float | None = None,
        wishes: Wishes = Wishes.RESIDENT,
        most_context_tokens: int | None = None,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
        think_tags: bool = True,
        ask_s: float = ASK_TIMEOUT_S,
        connect_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        where = address(base_url, endings=ENDINGS, api_key=api_key, headers=headers)
        self._transport = Transport(
            where.url, headers=where.headers, ask_s=ask_s, connect_s=connect_s, clock=clock
        )
        self.name = shown(name) or where.url
        self._model = model
        self._slots = slots
        self._keep_alive = None if keep_alive is None else keep_alive_of(keep_alive)
        self._wishes = wishes
        self._most_context_tokens = most_context_tokens
        self._extra = _checked(extra or {})
        self._think_tags = think_tags
        self._clock = clock
        if isinstance(profile, RunnerProfile):
            profile = {"*": profile}
        self._profiles = Profiles(profile)
        self._remote: set[str] = set()  # models of a cloud, which this Ollama only passes calls on to
        self._is_proven = False

    async def open(self) -> None:
        """Make the connections' session."""
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def facts(self, model: str = "") -> EngineFacts:
        """/api/version, /api/show, /api/ps.

        Raises EngineUnavailable, or ModelMissing with what Ollama said.
        """
        status, version = await self._transport.ask("GET", "/api/version")
        if status in NO_KEY:
            raise locked(self.name, status, "/api/version")
        if status != 200:
            raise EngineUnavailable(
                f"{self.name} answers {status} to /api/version: is it an Ollama? Its address "
                "ends before /api, as in http://127.0.0.1:11434"
            )
        self._model = self._model or model or await self._first_model()
        model = canonical(model or self._model)
        status, show = await self._transport.ask("POST", "/api/show", {"model": model})
        if status == 404:
            raise await self._missing(text_of(show), model)
        if status != 200:
            raise EngineUnavailable(f"{self.name} answers {status} to /api/show")
        is_remote = bool(show.get("remote_host") or show.get("remote_model"))
        if is_remote:
            self._remote.add(model)
        parameters = modelfile_parameters(text(show.get("parameters")))
        loaded = await self._resident(model)
        resident = int(number(loaded.get("context_length")))
        profile = self._profiles.settle(
            model,
            resident_tokens=resident,
            modelfile_tokens=int(number(parameters.get("num_ctx"))),
        )
        capabilities = show.get("capabilities")
        return EngineFacts(
            name=self.name,
            kind="ollama",
            model=model,
            slots=self._slots,
            usual_slots=None if is_remote else USUAL_SLOTS,
            context_tokens=profile.num_ctx or resident or self._unknown_window(),
            version=text(version.get("version")),
            thinks=isinstance(capabilities, list) and "thinking" in capabilities,
            defaults=authors_options(parameters),
            instance=await self._digest(model),
            loads=not is_remote,
            resident=is_remote or (resident > 0 and profile.num_ctx in {None, resident}),
            idle_s=self._idle_s(text(loaded.get("expires_at"))),
            ends_prefill=False,
            tells_restart=resident > 0,  # a model that is still loaded has not been restarted
            runner=profile.given(),
            wishes=self._wishes,
            most_context_tokens=min(
                self._most_context_tokens or trained_tokens(show), trained_tokens(show) or sys.maxsize
            ),
        )

    def _unknown_window(self) -> int:
        """Nobody knows OLLAMA_CONTEXT_LENGTH until the model is loaded: nothing is cut for a guess."""
        return DEFAULT_WINDOW_TOKENS if self._wishes is Wishes.PLANNED else 0

    def _idle_s(self, expires_at: str) -> float:
        """How long an unused model stays loaded: as we say, else at least as long as it has now."""
        if self._keep_alive is None:
            return max(DEFAULT_IDLE_S, seconds_until(expires_at))
        return seconds_of(self._keep_alive)

    async def has(self, model: str) -> bool | None:
        """Whether /api/tags lists it."""
        return any(is_same(name, model or self._model) for name in await self._names())

    async def pulse(self, model: str = "") -> Pulse:
        """/api/ps: whether the model is loaded, and with what window."""
        if self._is_remote(model or self._model):
            await self._transport.ask("GET", "/api/version")
            return Pulse(resident=True)
        loaded = await self._resident(model or self._model)
        return Pulse(resident=bool(loaded), window_tokens=int(number(loaded.get("context_length"))))

    async def _digest(self, model: str) -> str:
        entries = (entry for entry in await self._tags() if is_same(text(entry.get("name")), model))
        return next((text(entry.get("digest")) for entry in entries), "")

    async def _tags(self) -> list[dict[str, object]]:
        _, tags = await self._transport.ask("GET", "/api/tags")
        models = tags.get("models")
        return [mapping(entry) for entry in (models if isinstance(models, list) else [])]

    async def _names(self) -> list[str]:
        return [name for entry in await self._tags() if (name := text(entry.get("name")))]

    async def _missing(self, said: str, model: str) -> ModelMissing:
        names: list[str] = []
        with suppress(EngineUnavailable):
            names = await self._names()
        said = said or f"model '{model}' not found"
        return ModelMissing(said, model=model, near=near(model, names), status=404, said=said)

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """Load by a call without messages: the options are the same as in every call."""
        model = model or self._model
        if await self._knows_as_remote(model):
            return
        before = self.profile(model)
        if window_tokens is not None:
            self._profiles.keep(model, replace(before, num_ctx=window_tokens))
        try:
            await self._load(model)
        except BaseException:
            if window_tokens is not None:
                self._profiles.keep(model, before)
            raise

    def _is_remote(self, model: str) -> bool:
        return canonical(model) in self._remote

    async def _knows_as_remote(self, model: str) -> bool:
        """Whether the model is of a cloud: there is nothing to load, and the question would be a call."""
        if not self._is_remote(model):
            _, show = await self._transport.ask("POST", "/api/show", {"model": canonical(model)})
            if show.get("remote_host") or show.get("remote_model"):
                self._remote.add(canonical(model))
        return self._is_remote(model)

    async def _load(self, model: str) -> None:
        body = {**self.body(Call((), model=model)), "stream": False}
        if self._keep_alive is not None and seconds_of(self._keep_alive) == 0:
            del body["keep_alive"]  # an empty call with 0 unloads
        status, reply = await self._transport.ask("POST", "/api/chat", body, timeout_s=math.inf)
        if status != 200:
            raise await self._refusal(status, reply, Call((), model=model))

    async def _first_model(self) -> str:
        """The first that can hold a conversation: models for vectors and models of a cloud are not chosen."""
        entries = [entry for entry in await self._tags() if text(entry.get("name"))]
        ours = [entry for entry in entries if not entry.get("remote_host") and not entry.get("remote_model")]
        for entry in ours[:MOST_ASKED]:
            name = text(entry.get("name"))
            _, show = await self._transport.ask("POST", "/api/show", {"model": name})
            can = show.get("capabilities")
            if "completion" in can if isinstance(can, list) else is_for_chat(name):
                return name
        if not entries:
            raise ModelMissing(f"{self.name} has no model: run `ollama pull` first", model="")
        names = ", ".join(text(entry.get("name")) for entry in entries[:5])
        raise ModelMissing(f"{self.name} has no model for chat, only {names}: pull one, or name it", model="")

    async def _resident(self, model: str) -> dict[str, object]:
        """What /api/ps says of the loaded model; empty when it is not loaded."""
        _, listing = await self._transport.ask("GET", "/api/ps")
        models = listing.get("models")
        entries = [mapping(entry) for entry in (models if isinstance(models, list) else [])]
        return next((e for e in entries if is_same(text(e.get("name")), model)), {})

    async def _resident_tokens(self, model: str) -> int:
        """The window of the loaded model, 0 when it is not loaded or this Ollama does not tell."""
        return int(number((await self._resident(model)).get("context_length")))

    def profile(self, model: str = "") -> RunnerProfile:
        """The runner options in force for `model`."""
        model = model or self._model
        return self._profiles.settled(model) or self._profiles.configured(model)

    def body(self, call: Call) -> dict[str, object]:
        """The request for one call. `truncate` is off: Ollama would cut one message a turn, silently."""
        model = canonical(call.model or self._model)
        options = call.options.given()
        if call.options.stop is not None:
            options["stop"] = list(call.options.stop)
        options.update(mapping(self._extra.get("options")))
        options.update(self.profile(model).given())
        if call.window_tokens:
            options["num_ctx"] = call.window_tokens
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in call.messages],
            "stream": True,
            "truncate": False,
            **self._extra,
            "options": options,
        }
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        if call.think is not None:
            body["think"] = call.think
        if call.response_format is not None:
            body["format"] = _format(call.response_format)
        return body

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Answer one call; see `Engine.stream`. Ollama chooses its slot itself: `slot` is not sent."""
        started_s = self._clock()
        first_s: float | None = None
        tags = ThinkTags() if self._think_tags else None
        async with self._transport.post("/api/chat", self.body(call)) as reply:
            if reply.status != 200:
                said = await error_of(reply.pieces)
                raise await self._refusal(reply.status, said, call, reply.retry_after_s)
            self._is_proven = True
            async for chunk in ndjson(reply.pieces):
                if chunk.get("error"):
                    if first_s is None:
                        raise await self._refusal(500, chunk, call)
                    raise StreamBroken(f"{self.name} broke off: {text_of(chunk)}", told=True)
                message = mapping(chunk.get("message"))
                delta = Delta(text(message.get("content")), text(message.get("thinking")))
                is_end = chunk.get("done") is True
                if delta.text or delta.thinking:
                    first_s = self._clock() if first_s is None else first_s
                for part in _split(tags, delta, is_end=is_end):
                    yield part
                if is_end:
                    timings = self._timings(chunk, started_s, first_s)
                    yield replace(timings, slot=slot)
                    return
        raise StreamBroken(f"{self.name} closed the stream without an end")

    def _timings(self, final: dict[str, object], started_s: float, first_s: float | None) -> Timings:
        """Durations are integer nanoseconds; what they leave of the total was spent waiting for a slot."""
        total_s = self._clock() - started_s
        load_s = number(final.get("load_duration")) * NANO
        prefill_s = number(final.get("prompt_eval_duration")) * NANO
        decode_s = number(final.get("eval_duration")) * NANO
        cached = final.get("prompt_eval_cached_count")
        return Timings(
            queue_s=max(0.0, number(final.get("total_duration")) * NANO - load_s - prefill_s - decode_s),
            load_s=load_s,
            prefill_s=prefill_s,
            decode_s=decode_s,
            ttft_s=(self._clock() if first_s is None else first_s) - started_s,
            total_s=total_s,
            prompt_tokens=int(number(final.get("prompt_eval_count"))),
            cached_tokens=None if cached is None else int(number(cached)),
            output_tokens=int(number(final.get("eval_count"))),
            finish_reason=text(final.get("done_reason")) or "stop",
            engine=self.name,
        )

    async def _refusal(
        self, status: int, reply: object, call: Call, retry_after_s: float | None = None
    ) -> Exception:
        said = text_of(reply)
        if over := too_long(reply):
            window = over.context_tokens
            with suppress(EngineUnavailable):  # it has counted, so the model is loaded
                window = window or await self._resident_tokens(call.model or self._model)
            return PromptTooLong(
                said,
                prompt_tokens=over.prompt_tokens,
                context_tokens=window or self.profile(call.model).num_ctx or 0,
                status=status,
                said=said,
            )
        if status == 404:
            return await self._missing(said, call.model or self._model)
        if status in NO_KEY and self._is_remote(call.model or self._model):
            why = said or f"it answered {status}"
            return CallRejected(f"the model's cloud refused the call: {why}", status=status, said=said)
        if runner_is_gone(status, said):
            return StreamBroken(f"{self.name} answers {status}: {said}")
        return refused_by_status(
            self.name, "/api/chat", status, said, is_proven=self._is_proven, retry_after_s=retry_after_s
        )


def _split(tags: ThinkTags | None, delta: Delta, *, is_end: bool) -> list[Delta]:
    """What is told of a piece: thoughts in the text apart, and at the end what was held back."""
    parts = [delta]
    if tags is not None and delta.text:
        split = tags.split(delta.text)
        parts = [Delta(split.text, delta.thinking + split.thinking)]
    if tags is not None and is_end:
        parts.append(tags.end())
    return [part for part in parts if part.text or part.thinking]


def _checked(extra: Mapping[str, object]) -> dict[str, object]:
    wrong = sorted(RUNNER_FIELDS & set(mapping(extra.get("options"))))
    if wrong:
        raise ValueError(f"{wrong[0]} belongs to the runner: give profile=RunnerProfile({wrong[0]}=...)")
    return dict(extra)


def _format(wanted: str | Mapping[str, object]) -> object:
    """A JSON schema, "json", or the field as OpenAI's clients write it."""
    if isinstance(wanted, str):
        return wanted
    kind = wanted.get("type")
    if kind == "json_object":
        return "json"
    schema = mapping(wanted.get("json_schema")).get("schema")
    return schema if kind == "json_schema" and schema else wanted
