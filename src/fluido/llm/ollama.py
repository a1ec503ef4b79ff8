"""Ollama through its native API: the /v1 surface can neither hold the window nor tell an error mid-stream."""

import math
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from fluido.errors import EngineUnavailable
from fluido.llm.call import Call, Delta, Options, Timings
from fluido.llm.engine import EngineFacts, Pulse
from fluido.llm.errors import CallFailed, CallRejected, EngineBusy, ModelMissing, PromptTooLong, StreamBroken
from fluido.llm.profile import Profiles, RunnerProfile, Wishes
from fluido.llm.transport import ASK_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport, error_of
from fluido.llm.wire import mapping, ndjson, number, text

NANO = 1e-9
BUSY_RETRY_S = 1.0
UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
DEFAULT_WINDOW_TOKENS = 4096
NEAR = 0.5
# Its runner died: not this call's doing, and the next one loads the model again.
RUNNER_GONE = ("process has terminated", "no longer running", "connection refused", "connection reset", "EOF")
TOO_LONG = ("exceeds the available context", "exceed context", "prompt too long", "exceeds maximum context")


class OllamaEngine:
    """One Ollama. Every call carries the same runner options, so nothing we send reloads a model.

    `profile` is what the runner gets, for every model or (a mapping) for each; what it leaves open is taken
    from the resident model and then kept. `keep_alive` goes with every call: it belongs to the runner, and
    the last writer wins. `slots` states OLLAMA_NUM_PARALLEL, which Ollama does not tell. `wishes` is what
    becomes of a caller's own runner options; with `Wishes.PLANNED` a window grows on request up to
    `most_context_tokens` (of each slot; None: what the model was trained for, if memory allows). A question
    about the engine may take `ask_s`, a connection `connect_s` (seconds).
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:11434",
        *,
        name: str = "",
        model: str = "",
        slots: int | None = None,
        profile: RunnerProfile | Mapping[str, RunnerProfile] | None = None,
        keep_alive: str | int = "30m",
        wishes: Wishes = Wishes.RESIDENT,
        most_context_tokens: int | None = None,
        ask_s: float = ASK_TIMEOUT_S,
        connect_s: float = CONNECT_TIMEOUT_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._transport = Transport(base_url, ask_s=ask_s, connect_s=connect_s, clock=clock)
        self.name = name or self._transport.base_url
        self._model = model
        self._slots = slots
        self._keep_alive = keep_alive
        self._wishes = wishes
        self._most_context_tokens = most_context_tokens
        self._clock = clock
        if isinstance(profile, RunnerProfile):
            profile = {"*": profile}
        self._profiles = Profiles(profile)

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
        if status != 200:
            raise EngineUnavailable(f"{self.name} answers {status} to /api/version")
        self._model = self._model or model or await self._first_model()
        model = model or self._model
        status, show = await self._transport.ask("POST", "/api/show", {"model": model})
        if status == 404:
            raise await self._missing(text(show.get("error")), model)
        if status != 200:
            raise EngineUnavailable(f"{self.name} answers {status} to /api/show")
        parameters = modelfile_parameters(text(show.get("parameters")))
        resident = await self._resident_tokens(model)
        digest = await self._digest(model)
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
            context_tokens=profile.num_ctx or resident or DEFAULT_WINDOW_TOKENS,
            version=text(version.get("version")),
            thinks=isinstance(capabilities, list) and "thinking" in capabilities,
            defaults=Options.parse(parameters),
            instance=digest,
            loads=True,
            resident=resident > 0 and resident == profile.num_ctx,
            idle_s=seconds_of(self._keep_alive),
            ends_prefill=False,
            tells_restart=resident > 0,  # a model that is still loaded has not been restarted
            runner=profile.given(),
            wishes=self._wishes,
            most_context_tokens=min(
                self._most_context_tokens or trained_tokens(show), trained_tokens(show) or sys.maxsize
            ),
        )

    async def has(self, model: str) -> bool | None:
        """Whether /api/tags lists it."""
        return _is_among(model or self._model, await self._names())

    async def pulse(self, model: str = "") -> Pulse:
        """/api/ps: whether the model is loaded, and with what window."""
        resident = await self._resident_tokens(model or self._model)
        return Pulse(resident=resident > 0, window_tokens=resident)

    async def _digest(self, model: str) -> str:
        _, tags = await self._transport.ask("GET", "/api/tags")
        models = tags.get("models")
        for entry in models if isinstance(models, list) else []:
            if text(mapping(entry).get("name")) in {model, f"{model}:latest"}:
                return text(mapping(entry).get("digest"))
        return ""

    async def _names(self) -> list[str]:
        _, tags = await self._transport.ask("GET", "/api/tags")
        models = tags.get("models")
        found = (text(mapping(entry).get("name")) for entry in (models if isinstance(models, list) else []))
        return [name for name in found if name]

    async def _missing(self, said: str, model: str) -> ModelMissing:
        near = get_close_matches(model, await self._names(), n=3, cutoff=NEAR)
        return ModelMissing(said or f"model '{model}' not found", model=model, near=tuple(near))

    async def load(self, model: str, window_tokens: int | None = None) -> None:
        """Load by a call without messages: the options are the same as in every call."""
        model = model or self._model
        before = self.profile(model)
        if window_tokens is not None:
            self._profiles.keep(model, replace(before, num_ctx=window_tokens))
        try:
            await self._load(model)
        except BaseException:
            self._profiles.keep(model, before)
            raise

    async def _load(self, model: str) -> None:
        body = self.body(Call((), model=model))
        status, reply = await self._transport.ask(
            "POST", "/api/chat", {**body, "stream": False}, timeout_s=math.inf
        )
        if status == 404:
            raise await self._missing(text(reply.get("error")), model)
        if status != 200:
            raise self._refusal(status, text(reply.get("error")), Call((), model=model))

    async def _first_model(self) -> str:
        name = next(iter(await self._names()), "")
        if not name:
            raise ModelMissing(f"{self.name} has no model: run `ollama pull` first", model="")
        return name

    async def _resident_tokens(self, model: str) -> int:
        """The window of the loaded model, 0 when it is not loaded or this Ollama does not tell."""
        _, listing = await self._transport.ask("GET", "/api/ps")
        models = listing.get("models")
        for entry in models if isinstance(models, list) else []:
            if text(mapping(entry).get("name")) in {model, f"{model}:latest"}:
                return int(number(mapping(entry).get("context_length")))
        return 0

    def profile(self, model: str = "") -> RunnerProfile:
        """The runner options in force for `model`."""
        model = model or self._model
        return self._profiles.settled(model) or self._profiles.settle(
            model, resident_tokens=0, modelfile_tokens=0
        )

    def body(self, call: Call) -> dict[str, object]:
        """The request for one call. `truncate` is off: Ollama would cut one message a turn, silently."""
        model = call.model or self._model
        options = call.options.given()
        if "stop" in options:
            options["stop"] = list(call.options.stop or ())
        options.update(self.profile(model).given())
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in call.messages],
            "stream": True,
            "truncate": False,
            "keep_alive": self._keep_alive,
            "options": options,
        }
        if call.think is not None:
            body["think"] = call.think
        if call.response_format is not None:
            body["format"] = call.response_format
        return body

    async def stream(self, call: Call, *, slot: int | None = None) -> AsyncGenerator[Delta | Timings, None]:
        """Answer one call; see `Engine.stream`. Ollama chooses its slot itself: `slot` is not sent."""
        started_s = self._clock()
        first_s: float | None = None
        async with self._transport.post("/api/chat", self.body(call)) as (status, pieces):
            if status != 200:
                raise self._refusal(status, text((await error_of(pieces)).get("error")), call)
            async for chunk in ndjson(pieces):
                if "error" in chunk:
                    said = f"{self.name} broke off: {text(chunk['error'])}"
                    raise CallFailed(said, status=500) if first_s is None else StreamBroken(said, told=True)
                message = mapping(chunk.get("message"))
                said, thought = text(message.get("content")), text(message.get("thinking"))
                if said or thought:
                    first_s = self._clock() if first_s is None else first_s
                    yield Delta(said, thought)
                if chunk.get("done") is True:
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

    def _refusal(self, status: int, message: str, call: Call) -> Exception:
        message = message or f"status {status}"
        if any(sign in message for sign in TOO_LONG):
            window = self.profile(call.model).num_ctx or DEFAULT_WINDOW_TOKENS
            return PromptTooLong(message, prompt_tokens=0, context_tokens=window)
        if status == 404:
            return ModelMissing(message, model=call.model)
        if status == 503:
            return EngineBusy(f"{self.name}: {message}", retry_after_s=BUSY_RETRY_S)
        if status < 500:
            return CallRejected(message, status=status)
        if any(sign in message for sign in RUNNER_GONE):
            return StreamBroken(f"{self.name} answers {status}: {message}")
        return CallFailed(f"{self.name} answers {status}: {message}", status=status)


def _is_among(model: str, names: list[str]) -> bool:
    """A name without a tag means `:latest`."""
    return model in names or f"{model}:latest" in names or model.removesuffix(":latest") in names


def modelfile_parameters(listing: str) -> dict[str, object]:
    """`parameters` of /api/show: one "name value" a line, a name that repeats (stop) becomes a list."""
    found: dict[str, object] = {}
    for line in listing.splitlines():
        name, _, raw = line.strip().partition(" ")
        value = _value(raw.strip())
        if name == "stop":
            stops = found.setdefault("stop", [])
            if isinstance(stops, list):
                stops.append(str(value))
        elif name:
            found[name] = value
    return found


def trained_tokens(show: Mapping[str, object]) -> int:
    """The window a model was made for, of /api/show; 0: not told."""
    info = mapping(show.get("model_info"))
    return next((int(number(value)) for name, value in info.items() if name.endswith(".context_length")), 0)


def seconds_of(keep_alive: str | int) -> float:
    """Ollama's keep_alive in seconds: a number, or a text like "30m", "1h30m", "-1"; negative is for ever."""
    if isinstance(keep_alive, int):
        return float(keep_alive) if keep_alive >= 0 else math.inf
    total, digits = 0.0, ""
    for character in keep_alive.strip():
        if character.isdigit() or character in ".-":
            digits += character
        elif character in UNIT_S and digits:
            total += float(digits) * UNIT_S[character]
            digits = ""
        else:
            raise ValueError(f"keep_alive is a number of seconds or like '30m', not {keep_alive!r}")
    total += float(digits or 0)
    return total if total >= 0 else math.inf


def _value(raw: str) -> object:
    if raw.startswith('"') and raw.endswith('"') and len(raw) > 1:
        return raw[1:-1]
    try:
        return float(raw) if any(c in raw for c in ".eE") else int(raw)
    except ValueError:
        return raw
