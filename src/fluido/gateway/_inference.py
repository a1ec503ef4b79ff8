"""Inference calls: from what a client asked to its answer, through the queue, in the client's own words."""

import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial

from fluido.errors import FluidoError, LimitReached, WaitTimeout
from fluido.gateway._admission import Admission
from fluido.gateway._attempt import Sent
from fluido.gateway._call import Call, Told, off_loop
from fluido.gateway._config import Config
from fluido.gateway._discovery import Engine
from fluido.gateway._flow import Permit, Wanted
from fluido.gateway._http import Answer, Request
from fluido.gateway._keys import Client
from fluido.gateway._outlet import Outlet
from fluido.gateway._passing import pass_through
from fluido.gateway._seen import Request as SeenRequest
from fluido.gateway._seen import Seen, client_name
from fluido.gateway._upstream import EnginePool
from fluido.gateway.wire import (
    CHANGED_HEADER,
    Api,
    Asked,
    BadRequest,
    Profile,
    Route,
    conflicts,
    header_of,
    is_same_model,
    loaded,
    reader_of,
    refusal,
    shape_of,
    to_upstream,
    wishes,
)
from fluido.gateway.wire._spans import encoded
from fluido.llm._call import Lane
from fluido.llm._errors import CallRejected, PromptTooLong
from fluido.llm._silence import Patience

# A client may say until when its first token has to come.
DEADLINE_HEADER = b"x-deadline-ms"
SHORTEST_DEADLINE_S = 0.001
ENGINE_HEADER, WAIT_HEADER = b"x-fluido-engine", b"x-queue-wait-ms"
JSON = (b"content-type", b"application/json")
# What of a client's request head an engine may care about.
PASSED_ON = (b"accept", b"user-agent", b"x-request-id", b"traceparent", b"tracestate")
STATUS_LEFT = 499
# A prompt counts as cut only where our count of it, which is a guess, is so far beyond the window.
CUT = 1.5


class Inference:
    """Answers calls that an engine has to compute, and notes each in `seen`."""

    def __init__(
        self,
        config: Config,
        admission: Admission,
        pool_of: Callable[[Engine], EnginePool],
        seen: Seen,
        *,
        via: bytes,
        patience: Patience,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._config = config
        self._admission = admission
        self._pool_of = pool_of
        self._seen = seen
        self._via = via
        self._patience = patience
        self._clock = clock

    async def serve(self, asked: Asked, request: Request, client: Client, answer: Answer) -> None:
        """The whole way of one call; whatever fails is told in the client's words."""
        if asked.is_empty:
            await self._load(asked, request, client, answer)
            return
        came_s = self._clock()
        shape = shape_of(asked, time.time()) if asked.is_stream else None
        outlet = Outlet(answer, shape, heartbeat_s=self._config.heartbeat_s)

        async def compose(permit: Permit) -> Sent:
            profile = self._profile(permit, asked)
            told = call.told
            told.kept = profile.runner
            told.window_tokens = _window_of(asked, profile)
            made = partial(self._sent, asked, request, permit, profile)
            sent, told.notes = await off_loop(made, len(asked.body))
            waited_ms = round((self._clock() - came_s) * 1e3)
            outlet.headers = [
                (ENGINE_HEADER, permit.flow.name.encode("ascii", "replace")),
                (WAIT_HEADER, b"%d" % waited_ms),
            ]
            if told.notes:
                outlet.headers.append((CHANGED_HEADER, header_of(told.notes)))
            return sent

        call = Call(
            self._wanted(asked, request, client, came_s),
            compose,
            outlet,
            self._admission,
            self._pool_of,
            patience=self._patience,
            clock=self._clock,
        )
        told = call.told
        try:
            await call.run()
            told.outcome = "answered"
        except FluidoError as error:
            is_refused = isinstance(error, LimitReached | WaitTimeout | CallRejected)
            told.outcome, told.error = "refused" if is_refused else "failed", str(error)
            if not outlet.spoke:
                self._tell(asked, call, outlet, answer, error)
        finally:
            told.status = STATUS_LEFT if told.outcome == "left" else answer.status
            self._note(asked, request, client, told)

    async def _load(self, asked: Asked, request: Request, client: Client, answer: Answer) -> None:
        """Ollama is asked to load a model, or to unload it: that is done where nobody else needs it."""
        if asked.is_unload:
            if flow := await self._admission.unused(asked.model):
                body = encoded({"model": flow.model, "keep_alive": 0})
                pool = self._pool_of(flow.where)
                await pass_through(pool, answer, "POST", "/api/generate", headers=[JSON], body=body)
                self._admission.unloaded(flow)
                return
        else:
            permit = await self._admission.permit(self._wanted(asked, request, client, self._clock()))
            permit.flow.keep_alive.advise(asked.keep_alive)
            self._admission.left(permit)
        media = b"application/x-ndjson" if asked.is_stream else JSON[1]
        answer.whole(200, [(b"content-type", media)], loaded(asked, time.time()))

    def _tell(self, asked: Asked, call: Call, outlet: Outlet, answer: Answer, error: FluidoError) -> None:
        """An error before the first word: a reply of its own, or, after a heartbeat, the stream's end."""
        if outlet.started:
            outlet.broke(str(error), refusal(asked.api, error).body)
        elif (words := call.engines_words) is not None and _is_enough(words[2], error):
            answer.whole(*words)
        else:
            reply = refusal(asked.api, error)
            answer.whole(reply.status, reply.headers, reply.body)

    def _wanted(self, asked: Asked, request: Request, client: Client, came_s: float) -> Wanted:
        wait_s, away_s = self._config.wait_s, self._config.away_s
        said = request.headers.get(DEADLINE_HEADER, b"")
        if said.isdigit():
            wait_s = away_s = max(SHORTEST_DEADLINE_S, min(wait_s, int(said) / 1e3))
        lane, window = client.lane, asked.options.get("num_ctx")
        if asked.is_background:
            lane = Lane.BACKGROUND
        return Wanted(
            model=asked.model,
            prompt_tokens=asked.prompt_tokens,
            most_tokens=asked.most_tokens,
            answers=asked.answers,
            is_embedding=asked.route is Route.EMBED,
            chain=asked.chain,
            tokens=asked.tokens,
            head=asked.head,
            lane=lane,
            client=client.name if self._config.keys else request.peer,
            user=asked.user,
            weight=client.weight,
            deadline_s=came_s + wait_s,
            away_s=away_s,
            window_tokens=window if isinstance(window, int) else 0,
        )

    def _profile(self, permit: Permit, asked: Asked) -> Profile:
        flow, config = permit.flow, self._config
        facts = flow.facts
        runner = dict(facts.runner) if facts is not None else {}
        if flow.followed_tokens:
            runner["num_ctx"] = flow.followed_tokens
        flow.keep_alive.advise(asked.keep_alive)
        # an Ollama knows `m` and `m:latest` for one model: its client's own bytes stay as they are
        is_known = flow.where.api == "ollama" and is_same_model(asked.model, flow.model)
        profile = Profile(
            model="" if is_known else flow.model,
            runner=runner,
            keep_alive=flow.keep_alive.value,
            is_guarding=config.wishes != "passthrough" and not config.observe,
            window_tokens=flow.followed_tokens or (facts.context_tokens if facts is not None else 0),
            most_tokens=config.answer_tokens,
            wants_usage=flow.where.api == "openai" and not config.observe,
            extra={} if permit.slot is None else {"id_slot": permit.slot},
            kind="llama.cpp" if flow.where.kind == "llamacpp" else flow.where.kind,
        )
        if config.wishes == "strict" and (against := conflicts(asked, profile)):
            raise BadRequest(
                f"{'; '.join(against)}: the model is loaded otherwise, ask without it", field="options"
            )
        return profile

    def _sent(
        self, asked: Asked, request: Request, permit: Permit, profile: Profile
    ) -> tuple[Sent, tuple[str, ...]]:
        api = Api.OLLAMA if permit.flow.where.api == "ollama" else Api.OPENAI
        if asked.route is Route.PASS:
            api = asked.api  # there is nothing to translate it into
        media = b""
        if api is asked.api:
            upstream = to_upstream(asked, api, profile)
        else:
            upstream = to_upstream(asked, api, profile, now_s=time.time(), ident=secrets.token_hex(12))
            is_stream = asked.is_stream and upstream.translator is not None
            media = upstream.translator.media if is_stream and upstream.translator else JSON[1]
        sent = Sent(
            api,
            upstream.method,
            upstream.path,
            self._headers(request),
            upstream.body,
            reader_of(api) if asked.is_stream else None,
            upstream.translator,
            media,
        )
        return sent, upstream.changed

    def _headers(self, request: Request) -> Iterable[tuple[bytes, bytes]]:
        headers = [JSON, (b"via", self._via_of(request))]
        headers += [(name, request.headers[name]) for name in PASSED_ON if name in request.headers]
        return headers

    def _via_of(self, request: Request) -> bytes:
        before = request.headers.get(b"via")
        return b"%b, %b" % (before, self._via) if before else self._via

    def _note(self, asked: Asked, request: Request, client: Client, told: Told) -> None:
        timings = told.timings
        self._seen.note(
            SeenRequest(
                at_s=time.time(),
                client=client_name(request.headers),
                key=client.name if self._config.keys else "",
                model=asked.model,
                engine=told.engine,
                path=asked.path,
                lane=told.lane,
                status=told.status,
                outcome=told.outcome,
                queue_s=timings.queue_s if timings else told.queue_s,
                load_s=timings.load_s if timings else 0.0,
                prefill_s=timings.prefill_s if timings else 0.0,
                decode_s=timings.decode_s if timings else 0.0,
                # as the client felt it, with its time in the queue
                first_s=told.queue_s + timings.ttft_s if timings else 0.0,
                total_s=told.queue_s + (timings.total_s if timings else 0.0),
                prompt_tokens=timings.prompt_tokens if timings else 0,
                output_tokens=timings.output_tokens if timings else 0,
                lost_tokens=_lost_tokens(asked, told),
                asked=wishes(asked),
                kept=told.kept,
                notes=told.notes,
                error=told.error,
            )
        )


def _is_enough(body: bytes, error: FluidoError) -> bool:
    """Whether an engine's own refusal tells its client all: Ollama does not say how long a prompt was."""
    if isinstance(error, PromptTooLong):
        return str(error.prompt_tokens).encode() in body
    return isinstance(error, CallRejected)


def _window_of(asked: Asked, profile: Profile) -> int:
    """The context window in which the engine reads the call, in tokens; 0: nobody knows."""
    own = asked.options.get("num_ctx")
    return own if isinstance(own, int) and not profile.is_guarding else profile.window_tokens


def _lost_tokens(asked: Asked, told: Told) -> int:
    """What the engine cut off the prompt: it read no more than its window, and was sent far more."""
    read = told.timings.prompt_tokens if told.timings is not None else 0
    is_cut = 0 < read <= told.window_tokens and asked.prompt_tokens > CUT * told.window_tokens
    return asked.prompt_tokens - read if is_cut else 0
