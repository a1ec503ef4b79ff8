"""The LLM service under the customer's name: a question with its history in, an answer as it comes."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from app.core.adaptive_buffers import AdaptiveBufferManager, DataFlowType, adaptive_buffer_manager
from app.core.settings import Settings
from fluido.llm import (
    Call,
    CallRejected,
    Delta,
    Dispatcher,
    EmptyAnswer,
    Engine,
    Kind,
    Message,
    OllamaEngine,
    OpenAIEngine,
    Options,
    Presets,
    Reservation,
    Station,
    Timings,
    detect,
    thinking_bound,
)

from .recall import Recall
from .transcript import Transcript, Turn

# The first line of every prompt. It never changes, so its tokens are computed once for everybody.
SYSTEM_PROMPT = (
    "You are Sentinel, a helpful assistant. Answer in the language of the question, correctly and briefly."
)
DEFAULT_OLLAMA_URL = "http://127.0.0.1:11434"

# Request-level parameters by kind of query: Sentinel's policy, the library has none. A caller's and the
# model author's own values win; for a model that thinks the bounds are four times as high. The
# temperatures are low because Sentinel answers questions, it does not invent stories unless asked. A
# small model repeats itself to the bound without a penalty; 1.1 is Ollama's own default.
REPEAT_PENALTY = 1.1
PRESETS = {
    Kind.SHORT: Options(num_predict=256, temperature=0.2, top_p=0.9, repeat_penalty=REPEAT_PENALTY),
    Kind.MEDIUM: Options(num_predict=768, temperature=0.4, top_p=0.9, repeat_penalty=REPEAT_PENALTY),
    Kind.LONG: Options(num_predict=2048, temperature=0.7, top_p=0.95, repeat_penalty=REPEAT_PENALTY),
    Kind.CODE: Options(num_predict=1536, temperature=0.2, top_p=0.95, repeat_penalty=REPEAT_PENALTY),
}


class SentinelFluidoV2:
    """Detects the kind of query, fills the request-level parameters, queues and streams.

    The prompt is the system prompt, the turns in order, the question: only ever appended to, so that
    the engine finds its own prefix again. When the window fills up it is cut in one step.

    `ollama_url` and `model` default to what `Settings` says, `model` to what the engine serves.
    `make_station` makes the queue in front of an engine, see `Dispatcher`.
    """

    def __init__(
        self,
        ollama_url: str | None = None,
        model: str | None = None,
        *,
        engines: Sequence[Engine] | None = None,
        settings: Settings | None = None,
        buffers: AdaptiveBufferManager = adaptive_buffer_manager,
        system_prompt: str = SYSTEM_PROMPT,
        make_station: Callable[..., Station] = Station,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        settings = settings or Settings()
        self._buffers = buffers
        policy = buffers.policy(DataFlowType.LLM_INFERENCE)
        self.model = model or settings.model or ""
        self._system = Message("system", system_prompt)
        self._clock = clock
        self._max_waiting = int(policy.need("max_waiting"))
        self._deadline_s = settings.deadline_s
        self._recall = Recall[str](int(policy.need("cache_max_entries")))
        self._dispatcher = Dispatcher(
            engines or _engines(ollama_url, self.model, settings),
            model=self.model,
            slots=settings.engine_slots,
            most=int(policy.need("pool_max_size")),
            max_waiting=self._max_waiting,
            max_wait_s=self._deadline_s,
            presets=Presets(PRESETS),
            make_station=make_station,
            clock=clock,
        )
        self._is_open = False

    async def open(self) -> None:
        """Make the connections. Called by the first question if nobody did; others wait meanwhile."""
        if not self._is_open:
            self._is_open = True
            self._buffers.attach(DataFlowType.LLM_INFERENCE, lambda: self._dispatcher.stations, self.live)
        await self._dispatcher.open()

    async def close(self) -> None:
        """Refuse new questions, end the running ones, close the connections. May be called twice."""
        self._is_open = False
        await self._dispatcher.close()

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        return {
            "pool_max_size": round(sum(station.stats().value for station in self._dispatcher.stations)),
            "max_waiting": self._max_waiting,
            "read_timeout_s": self._deadline_s,
        }

    @property
    def dispatcher(self) -> Dispatcher:
        """The queue in front of the engines."""
        return self._dispatcher

    def reserve(
        self,
        message: str,
        kind: Kind,
        deadline_s: float,
        max_output_tokens: int | None = None,
        key: str = "",
        *,
        tenant: str = "",
    ) -> Reservation:
        """Take a question's place in the queue, or raise what it would meet now: see `Dispatcher.reserve`.

        Asked before anything is stored, so that a refusal costs next to nothing and leaves nothing. The
        history is not known yet: the call itself is composed when it is streamed with this place.
        """
        return self._dispatcher.reserve(
            Call(
                (self._system, Message("user", message)),
                model=self.model,
                options=Options(num_predict=max_output_tokens),
                kind=kind,
                key=key,
                tenant=tenant,
                deadline_s=deadline_s,
            )
        )

    async def check(self) -> str:
        """Return which model answers on which engine; raise what keeps it from answering."""
        await self.open()
        self._dispatcher.check_up()
        facts = [station.facts for station in self._dispatcher.stations if station.facts is not None]
        return "; ".join(
            f"{fact.model} on {fact.kind}" + (f", {fact.slots} slots" if fact.slots else "") for fact in facts
        )

    def kind_of(self, message: str, hint: str | None = None) -> Kind:
        """Return the kind of a query; a hint wins."""
        return Kind(hint) if hint else detect(message)

    async def stream(
        self,
        history: Sequence[Turn],
        message: str,
        *,
        kind: Kind | None = None,
        conversation: str = "",
        key: str = "",
        max_output_tokens: int | None = None,
        deadline_s: float | None = None,
        tenant: str = "",
        place: Reservation | None = None,
    ) -> AsyncGenerator[Delta | Timings, None]:
        """Answer `message` after `history`: deltas, then one `Timings`. Closing it stops the engine.

        `deadline_s` is the latest time for the first token, on this service's clock.
        """
        await self.open()
        turns = tuple(Message(turn.role, turn.content) for turn in history)
        call = Call(
            messages=(self._system, *turns, Message("user", message)),
            model=self.model,
            options=Options(num_predict=max_output_tokens),
            kind=kind,
            key=key,
            tenant=tenant,
            conversation=conversation,
            deadline_s=deadline_s,
        )
        async with aclosing(self._thought_through(call, place)) as events:
            async for event in events:
                yield event

    async def _thought_through(
        self, call: Call, place: Reservation | None
    ) -> AsyncGenerator[Delta | Timings, None]:
        """Answer with words: a model whose bound went into thoughts is asked once more, with a larger one.

        Only where the bound is our policy's. Raises EmptyAnswer when no word comes.
        """
        try:
            async with aclosing(self._worded(call, place)) as events:
                async for event in events:
                    yield event
            return
        except EmptyAnswer as error:
            if not error.thought_tokens or call.options.num_predict is not None:
                raise
            empty = error
        # A first token has come, in time; what it takes until the next is what a question has.
        deadline_s = None if call.deadline_s is None else self._clock() + self._deadline_s
        larger = Options(num_predict=thinking_bound(empty.thought_tokens))
        try:
            again = replace(call, options=larger, deadline_s=deadline_s)
            async with aclosing(self._worded(again)) as events:
                async for event in events:
                    yield event
        except CallRejected:  # such a bound does not fit the window
            raise empty from None

    async def _worded(
        self, call: Call, place: Reservation | None = None
    ) -> AsyncGenerator[Delta | Timings, None]:
        is_empty = True
        async with aclosing(self._dispatcher.stream(call, place=place)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    is_empty = is_empty and not event.text.strip()
                elif is_empty:
                    raise EmptyAnswer("the model ended without a word: ask again", thought_tokens=0)
                yield event

    async def responder(self, user_id: str, mensaje: str) -> AsyncGenerator[tuple[str, float], None]:
        """Yield `(chunk, ttfb_ms)`: the pieces of the answer, each with the time to the first one.

        What was said before with this user is remembered in this process, bounded.
        """
        began = self._clock()
        ttfb_ms = 0.0
        pieces: list[str] = []
        before = self._recall.of(user_id) or Transcript(None, ())
        async with aclosing(self.stream(before.turns, mensaje, conversation=user_id, key=user_id)) as events:
            async for event in events:
                if isinstance(event, Delta) and event.text:
                    ttfb_ms = ttfb_ms or (self._clock() - began) * 1e3
                    pieces.append(event.text)
                    yield event.text, ttfb_ms
        said = (Turn("user", mensaje), Turn("assistant", "".join(pieces)))
        self._recall.keep(user_id, before.followed_by(None, *said).cut())

    async def responder_simple(self, user_id: str, mensaje: str) -> tuple[str, float]:
        """Return `(text, ttfb_ms)` once the answer is complete."""
        pieces: list[str] = []
        ttfb_ms = 0.0
        async with aclosing(self.responder(user_id, mensaje)) as chunks:
            async for chunk, ttfb in chunks:
                pieces.append(chunk)
                ttfb_ms = ttfb
        return "".join(pieces), ttfb_ms


def _engines(ollama_url: str | None, model: str, settings: Settings) -> list[Engine]:
    """One engine for each URL, which a comma separates; both kinds where both are set."""
    headers = {name: value.get_secret_value() for name, value in settings.engine_headers.items()}
    openai_urls, ollama_urls = ([], _each(ollama_url)) if ollama_url else engine_urls(settings)
    speak_openai = [
        OpenAIEngine(
            url,
            model=model,
            window=settings.engine_window,
            slots=settings.engine_slots,
            kv_tokens=settings.engine_kv_tokens,
            api_key=settings.openai_api_key.get_secret_value(),
            headers=headers,
        )
        for url in openai_urls
    ]
    speak_ollama = [
        OllamaEngine(
            url,
            model=model,
            keep_alive=settings.keep_alive,
            slots=settings.engine_slots,
            api_key=settings.ollama_api_key.get_secret_value(),
            headers=headers,
        )
        for url in ollama_urls
    ]
    return [*speak_openai, *speak_ollama]


def engine_urls(settings: Settings) -> tuple[list[str], list[str]]:
    """The addresses of the engines that speak OpenAI's API, and of those that speak Ollama's."""
    openai_urls, ollama_urls = _each(settings.openai_url or ""), _each(settings.ollama_url or "")
    return openai_urls, ollama_urls if openai_urls or ollama_urls else [DEFAULT_OLLAMA_URL]


def _each(urls: str) -> list[str]:
    return [url.strip() for url in urls.split(",") if url.strip()]
