"""The gateway: one port that is an Ollama and an OpenAI server, and the queues of all engines behind it."""

import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Self

import msgspec

from fluido.errors import EngineUnavailable, FluidoError
from fluido.gateway import _listing as listing
from fluido.gateway._admission import Admission
from fluido.gateway._call import THREAD_BYTES, off_loop
from fluido.gateway._config import Config, EngineUrl, is_loopback
from fluido.gateway._connection import Limits
from fluido.gateway._discovery import Directory, Engine
from fluido.gateway._http import Answer, Request
from fluido.gateway._inference import Inference
from fluido.gateway._keys import Client, Unauthorized
from fluido.gateway._origins import Origins
from fluido.gateway._page import Pages
from fluido.gateway._passing import pass_through
from fluido.gateway._seen import Seen
from fluido.gateway._server import HttpServer
from fluido.gateway._shared import Shared
from fluido.gateway._upstream import EnginePool
from fluido.gateway.wire import Api, Asked, BadRequest, Profile, Route, api_of, parse, refusal, to_upstream
from fluido.llm import Wishes
from fluido.llm._silence import Patience

RUNNING = b"Ollama is running"
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json; charset=utf-8")
LOOP_STATUS = 508
INFERENCE = frozenset({Route.CHAT, Route.GENERATE, Route.EMBED})
# Answers of an engine in yet another API: its bytes, through the queue.
GENERATE = frozenset({"/v1/responses", "/v1/messages"})
# What a passed on request keeps of its head; the key of this gateway is not the engine's.
NOT_SENT = frozenset(
    {
        b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"transfer-encoding",
        b"content-length", b"expect", b"accept-encoding", b"authorization", b"x-api-key", b"api-key",
        b"cookie", b"via", b"http2-settings",
    }
)  # fmt: skip

_log = logging.getLogger("fluido.gateway")


class Gateway:
    """A reverse proxy with a queue, and its own pages. Inert until `open`.

    `shared` are the queues of a Dispatcher in this process, if there is one.
    """

    def __init__(
        self,
        config: Config,
        *,
        directory: Directory | None = None,
        patience: Patience | None = None,
        shared: Shared | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config = config
        self.directory = directory or Directory(config.engines, aliases=config.aliases)
        self.seen = Seen()
        self.pages = Pages(
            config,
            self.seen,
            lambda: self.directory.engines,
            lambda: self.admission.flows,
            lambda: self.admission.comeback.waiting,
        )
        self._clock = clock
        self._pools: dict[str, EnginePool] = {}
        self._origins = Origins(config.origins, is_loopback=is_loopback(config.listen) and not config.keys)
        # who sees his own name in Via has sent a request to himself
        self._via = b"1.1 fluido-" + secrets.token_hex(4).encode()
        self.admission = Admission(
            self.directory,
            wishes=Wishes.PLANNED if config.wishes == "planned" else Wishes.RESIDENT,
            most_context_tokens=config.most_context_tokens,
            max_waiting=config.max_waiting,
            is_open=config.observe,
            return_s=(patience or Patience()).return_s,
            shared=shared,
            clock=clock,
        )
        self._inference = Inference(
            config,
            self.admission,
            self.pool,
            self.seen,
            via=self._via,
            patience=patience or Patience(),
            clock=clock,
        )
        self.server = HttpServer(
            self.handle,
            limits=Limits(
                body_bytes=config.max_body_bytes,
                held_bytes=config.max_waiting_bytes,
                connections=config.max_connections,
            ),
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    async def open(self) -> None:
        """Look for the engines, then listen. Raises OSError where the port is taken."""
        await self.directory.open()
        await self.admission.warm()
        await self.server.open(self.config.listen, self.config.port)

    async def close(self) -> None:
        """Listen no more, let what runs end, let go of the engines. Idempotent."""
        await self.server.close()
        await self.admission.close()
        for pool in self._pools.values():
            await pool.close()
        await self.directory.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def pool(self, engine: Engine) -> EnginePool:
        """The connections to an engine."""
        pool = self._pools.get(engine.url)
        if pool is None:
            headers = [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in engine.headers.items()
            ]
            pool = self._pools[engine.url] = EnginePool(engine.url, name=engine.name, headers=headers)
        return pool

    async def handle(self, request: Request, answer: Answer) -> None:
        """Answer one request; whatever fails before the first byte is told in its API's words."""
        api = api_of(request.path)
        try:
            if request.error:
                raise BadRequest(request.why, status=request.error)
            if not self._origins.allowed(request.headers):
                raise Forbidden(
                    "a strange page or host name may not call the gateway: name it in the settings, as in "
                    'origins = ["https://page.example"]'
                )
            if request.method == "OPTIONS":
                answer.whole(204, self._origins.preflight(request.headers), b"")
                return
            answer.more = self._origins.headers(request.headers)
            client, path = self.config.keys.who(request.headers, request.path)
            api = api_of(path)
            if (page := self.pages.reply(request.method, path)) is not None:
                if self.config.keys and not client.admin:
                    raise Forbidden(f"{path} tells of everybody's requests: it needs a key with admin")
                answer.whole(*page)
                return
            if self._via in request.headers.get(b"via", b""):
                raise BadRequest(
                    "this request came from this gateway: an engine's address leads back here",
                    status=LOOP_STATUS,
                )
            await self._route(await self._parsed(request, path), request, client, answer)
        except FluidoError as error:
            if answer.started:
                answer.abort()
                return
            reply = refusal(api, error)
            answer.whole(reply.status, reply.headers, reply.body)

    async def _parsed(self, request: Request, path: str) -> Asked:
        work = partial(parse, request.method, path, request.headers, request.body)
        return await off_loop(work, len(request.body))

    async def _route(self, asked: Asked, request: Request, client: Client, answer: Answer) -> None:
        route = asked.route
        if asked.model and not client.may_use(asked.model):
            raise Forbidden(f"the key of {client.name} may not use {asked.model}")
        if route in INFERENCE or (route is Route.PASS and asked.path in GENERATE):
            if (left_s := self.config.keys.take(client)) > 0:
                raise TooOften(f"{client.name} has asked {client.per_minute} times in a minute", left_s)
            self._check_carried(asked)
            await self._inference.serve(asked, request, client, answer)
        elif route is Route.ROOT:
            answer.whole(200, (TEXT,), RUNNING)
        elif route in {Route.VERSION, Route.LIST, Route.PS}:
            answer.whole(200, (JSON,), msgspec.json.encode(await self._listing(asked, client)))
        elif route is Route.SHOW:
            await self._show(asked, answer)
        elif route is Route.MANAGE:
            await self._manage(asked, request, client, answer)
        elif route is Route.PASS:
            await self._pass(asked, request, self._any_engine(asked), answer)
        else:
            raise BadRequest(f"there is nothing at {asked.path}", status=404)

    def _check_carried(self, asked: Asked) -> None:
        """What no engine here can be asked in its own words is refused before it waits for a turn."""
        other = Api.OPENAI if asked.api is Api.OLLAMA else Api.OLLAMA
        if asked.is_empty or asked.route not in INFERENCE or len(asked.body) >= THREAD_BYTES:
            return
        if {engine.api for engine in self.directory.engines} == {other.value}:
            to_upstream(asked, other, Profile())

    async def _listing(self, asked: Asked, client: Client) -> dict[str, object]:
        engines = [engine for engine in await self.directory.fresh() if engine.is_up]
        if asked.route is Route.VERSION:
            return listing.version(engines)
        if asked.route is Route.PS:
            return listing.running(engines)
        make = listing.tags if asked.api is Api.OLLAMA else listing.models
        return make(engines, self.config.aliases, may_use=client.may_use)

    async def _show(self, asked: Asked, answer: Answer) -> None:
        model, engines = self.directory.resolve(asked.model)
        if asked.api is Api.OPENAI:
            body = msgspec.json.encode(listing.model(engines[0], model, asked.model))
            answer.whole(200, (JSON,), body)
            return
        for engine in engines:
            if said := await self.directory.show(engine, model):
                answer.whole(200, (JSON,), msgspec.json.encode(said))
                return
        answer.whole(200, (JSON,), msgspec.json.encode(listing.show(engines[0], model)))

    async def _manage(self, asked: Asked, request: Request, client: Client, answer: Answer) -> None:
        if not (self.config.manage or client.admin):
            raise Forbidden(
                f"{asked.path} changes the models of everybody: it needs a key with admin, or manage = true"
            )
        await self._pass(asked, request, self._any_engine(asked), answer)

    def _any_engine(self, asked: Asked) -> Engine:
        """An engine for a request that is none of the queue's: one that has its model, else of its API."""
        if asked.model and asked.route is not Route.MANAGE:
            return self.directory.resolve(asked.model)[1][0]
        up = [engine for engine in self.directory.engines if engine.is_up]
        fitting = [engine for engine in up if engine.api == asked.api.value]
        if not fitting:
            raise EngineUnavailable(f"no engine that answers has {asked.path}", retry_after_s=1.0)
        return fitting[0]

    async def _pass(self, asked: Asked, request: Request, engine: Engine, answer: Answer) -> None:
        headers = [(name, value) for name, value in request.headers.items() if name not in NOT_SENT]
        before = request.headers.get(b"via")
        headers.append((b"via", b"%b, %b" % (before, self._via) if before else self._via))
        query = request.target.partition("?")[2]
        path = f"{asked.path}?{query}" if query else asked.path
        await pass_through(self.pool(engine), answer, asked.method, path, headers=headers, body=asked.body)


class Forbidden(FluidoError):
    """This key may not do that: ask with another one."""

    http_status = 403
    code = "forbidden"


class TooOften(FluidoError):
    """The key's rate is used up: try again after `retry_after_s`."""

    http_status = 429
    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


__all__ = ["EngineUrl", "Forbidden", "Gateway", "TooOften", "Unauthorized"]
