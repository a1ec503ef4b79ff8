"""One attempt at one engine: a call that has its permit is sent, relayed, watched for silence, and judged."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass

from fluido.errors import EngineUnavailable, FluidoError
from fluido.gateway._failures import failure
from fluido.gateway._flow import Displaced, Permit
from fluido.gateway._outlet import Outlet
from fluido.gateway._relay import SLOW_READER_S, Relay, Throttle, is_page
from fluido.gateway._upstream import EnginePool
from fluido.gateway.wire import Api, Ended, StreamShape, Translator, reader_of
from fluido.gateway.wire._spans import encoded
from fluido.llm import Timings
from fluido.llm._errors import PromptTooLong, StreamBroken
from fluido.llm._silence import Patience, SilenceWatch

SAID_CHARS = 200
# The figures of an answer in one piece are read up to here: vectors have none.
LOOKED_AT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes to the engine, which speaks `api`. `shape` looks at its stream, None: one piece comes back.

    `translator` makes the client's words of it, of the type `media` where that is another.
    """

    api: Api
    method: str
    path: str
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes
    shape: StreamShape | None
    translator: Translator | None = None
    media: bytes = b""


class Attempt:
    """Sends `sent` with a permit and passes the reply on to `outlet`. `relay` holds it afterwards."""

    def __init__(
        self,
        sent: Sent,
        permit: Permit,
        outlet: Outlet,
        pool: EnginePool,
        *,
        patience: Patience,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._sent = sent
        self._permit = permit
        self._outlet = outlet
        self._pool = pool
        self._patience = patience
        self._clock = clock
        self.relay: Relay | None = None

    async def run(
        self, *, moves_on: Callable[[], bool], flees: Callable[[], bool], may_yield: bool = False
    ) -> Timings:
        """The reply was passed on, or (in one piece) is there.

        Raises what it stands for where it is no answer, WaitTimeout at the deadline of the first token,
        StreamBroken when the engine broke off or is silent and does not answer questions either. One that
        `may_yield` raises Displaced when a person needs its permit before its client has heard a word.
        """
        loop, flow, seat = asyncio.get_running_loop(), self._permit.flow, self._permit.seat
        deadline_s, sent_s = seat.demand.deadline_s, self._clock()
        left_s = math.inf if deadline_s is None else max(0.0, deadline_s - sent_s)
        guard = asyncio.timeout(None if deadline_s is None else left_s)

        def progressed() -> None:
            if not self._permit.released:
                flow.progressed(seat)

        def first() -> None:
            seat.prefilled = True
            guard.reschedule(None)
            loop.call_soon(progressed)  # after the bytes that came were written to the client

        watch = SilenceWatch(
            flow.lives,
            lambda: guard.reschedule(loop.time()),
            self._patience,
            moves_on=moves_on,
            flees=flees,
            expected_s=seat.demand.first_token_s,
            left_s=left_s,
        )
        relay = self.relay = Relay(
            self._outlet,
            self._sent.shape,
            translator=self._sent.translator,
            media=self._sent.media,
            heard=watch.heard,
            on_first=first,
            clock=self._clock,
        )
        gave_way = False

        def give_way() -> bool:
            nonlocal gave_way
            gave_way = not self._outlet.spoke and not relay.done.done()
            if gave_way:
                guard.reschedule(loop.time())
            return gave_way

        try:
            async with guard:
                with flow.yields(seat, give_way) if may_yield else nullcontext():
                    await self._passed(relay)
        except TimeoutError as error:
            if gave_way:
                raise Displaced("a person came") from error
            raise watch.why(flow.name, self._clock() - seat.started_s) from error
        finally:
            watch.close()
        return self._judged(relay, sent_s)

    async def _passed(self, relay: Relay) -> None:
        """Until the reply ended. Whoever leaves before takes the connection with him."""
        sent, throttle = self._sent, None
        connection = await self._pool.ask(sent.method, sent.path, sent.headers, sent.body, relay)
        try:
            throttle = Throttle(
                connection,
                lambda: relay.fail(StreamBroken("nobody reads this answer", told=True)),
                slow_s=SLOW_READER_S,
            )
            self._outlet.reads_from(throttle)
            await relay.done
        finally:
            self._outlet.reads_from(None)
            if throttle is not None:
                throttle.close()
            if not relay.is_over:
                connection.abort()

    def _judged(self, relay: Relay, sent_s: float) -> Timings:
        """The figures of an answer. Raises what a reply stands for that is none."""
        name, model = self._permit.flow.name, self._permit.flow.model
        if relay.status == 200 and is_page(relay.headers):
            raise EngineUnavailable(f"{name} answers with a page for people: is it an engine's address?")
        if relay.status != 200:
            refused = failure(
                name,
                model,
                relay.status,
                relay.headers,
                relay.body,
                path=self._sent.path,
                is_proven=self._permit.flow.meter.completed > 0,
            )
            raise self._counted(refused)
        ended = self._whole(relay) if self._sent.shape is None else relay.ended
        if (shape := self._sent.shape) is not None and shape.error:
            if relay.first_s is not None:
                raise StreamBroken(f"{name} broke off: {shape.error[:SAID_CHARS]}", told=True)
            said = encoded({"error": shape.error})
            raise self._counted(failure(name, model, 500, relay.headers, said, path=self._sent.path))
        if ended is None and shape is not None:
            raise StreamBroken(f"{name} ended the stream without an end")
        return self._timings(ended, relay, sent_s)

    def _counted(self, error: FluidoError) -> FluidoError:
        """With both lengths for a prompt that is too long, ours where the engine tells none."""
        if isinstance(error, PromptTooLong):
            flow, wanted = self._permit.flow, self._permit.wanted
            known = flow.facts.context_tokens if flow.facts is not None else 0
            error.context_tokens = error.context_tokens or flow.followed_tokens or known
            error.prompt_tokens = error.prompt_tokens or flow.token_scale.of(wanted.prompt_tokens)
        return error

    def _whole(self, relay: Relay) -> Ended | None:
        if relay.was_passed_on:
            return None
        body = relay.body
        if b"content-length" not in relay.headers and not body.rstrip().endswith((b"}", b"]")):
            raise StreamBroken(f"{self._permit.flow.name} broke off in the middle of its answer")
        return reader_of(self._sent.api).whole(body) if len(body) <= LOOKED_AT_BYTES else None

    def _timings(self, ended: Ended | None, relay: Relay, sent_s: float) -> Timings:
        """By the engine's own clock where it tells, else by ours: of one piece nobody knows when it began."""
        now_s, seat = self._clock(), self._permit.seat
        ended, total_s = ended or Ended(), now_s - sent_s
        first_s = (relay.first_s or now_s) - sent_s
        load_s, prefill_s, decode_s = (
            each or 0.0 for each in (ended.load_s, ended.prefill_s, ended.decode_s)
        )
        tells, is_stream = prefill_s > 0 or decode_s > 0, self._sent.shape is not None
        queue_s = 0.0
        if tells and ended.total_s:
            queue_s = max(0.0, ended.total_s - load_s - prefill_s - decode_s)
        elif tells and is_stream:
            queue_s = max(0.0, first_s - prefill_s)
        elif is_stream:
            prefill_s, decode_s = first_s, total_s - first_s
        return Timings(
            queue_s=queue_s,
            load_s=load_s,
            prefill_s=prefill_s,
            decode_s=decode_s,
            ttft_s=first_s,
            total_s=total_s,
            prompt_tokens=ended.prompt_tokens or 0,
            cached_tokens=ended.cached_tokens,
            output_tokens=ended.output_tokens or 0,
            finish_reason=ended.finish_reason or "stop",
            slot=seat.place.slot if seat.place.slot >= 0 else None,
            engine=self._permit.flow.name,
            model=self._permit.flow.model,
        )
