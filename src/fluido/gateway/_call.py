"""One call from its queue to its last byte: choose, wait, relay, learn; again if nobody heard a word."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from fluido.errors import EngineUnavailable, FluidoError
from fluido.gateway._admission import Admission
from fluido.gateway._attempt import Attempt, Sent
from fluido.gateway._discovery import Engine
from fluido.gateway._flow import Displaced, Permit, Wanted
from fluido.gateway._outlet import Outlet, passed_on
from fluido.gateway._relay import Relay
from fluido.gateway._seen import Outcome
from fluido.gateway._upstream import EnginePool
from fluido.llm import Timings
from fluido.llm._call import Lane
from fluido.llm._errors import (
    CacheFull,
    CallFailed,
    EngineBusy,
    ModelMissing,
    StreamBroken,
    Unreached,
)
from fluido.llm._retry import LONGEST_WISH_S
from fluido.llm._silence import Patience

# An engine may do this much work for a call in vain, those not counted that were not reached or were full.
ATTEMPTS = 2
MOST_RETRIES = 32
# So often a task gives its permit to a person; then it ends what it began.
MOST_DISPLACED = 2
PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# Larger bodies are parsed, patched and translated in a thread: a quarter of a megabyte takes a millisecond.
THREAD_BYTES = 256 * 1024

Made = TypeVar("Made")


async def off_loop(work: Callable[[], Made], size: int) -> Made:
    """What `work` returns, done beside the loop where its `size` in bytes would hold the others up."""
    if size < THREAD_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)


class Compose(Protocol):
    """Makes the request for the engine that was chosen. Raises CallRejected for what it cannot carry."""

    async def __call__(self, permit: Permit) -> Sent:
        """The bytes for it."""


@dataclass(slots=True)
class Told:
    """What became of a call, for the panel and the log. Times in seconds."""

    model: str
    client: str = ""
    engine: str = ""
    lane: str = ""
    outcome: Outcome = "left"
    status: int = 0
    queue_s: float = 0.0
    retries: int = 0
    timings: Timings | None = None
    window_tokens: int = 0
    kept: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""


class Call:
    """One call. `run` returns when its client has the whole answer, and raises what it was told instead.

    What is raised while `outlet.spoke` is False has not been told: the caller puts it into the API's words.
    """

    def __init__(
        self,
        wanted: Wanted,
        compose: Compose,
        outlet: Outlet,
        admission: Admission,
        pool_of: Callable[[Engine], EnginePool],
        *,
        patience: Patience,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._wanted = wanted
        self._compose = compose
        self._outlet = outlet
        self._admission = admission
        self._pool_of = pool_of
        self._patience = patience
        self._clock = clock
        self._tried: set[str] = set()
        self._asked = self._displaced = 0
        self._translates = self._in_hand = False
        self.relay: Relay | None = None
        """The last reply, with an engine's own words where it refused."""
        self.told = Told(wanted.model, wanted.client, lane=wanted.lane.name.lower())

    async def run(self) -> Timings:
        """The whole way. Tries again, elsewhere if there is an elsewhere, while nobody has heard a word."""
        came_s = self._clock()
        self._outlet.wait()
        try:
            while True:
                try:
                    return await self._once(came_s)
                except Displaced:
                    self._displaced += 1
                except (EngineUnavailable, ModelMissing, CallFailed) as error:
                    if self._outlet.spoke:
                        self._outlet.broke(str(error))
                        raise
                    if not await self._again(error):
                        raise
        finally:
            self._outlet.close()

    async def _once(self, came_s: float) -> Timings:
        self._in_hand = False
        permit = await self._admission.permit(self._wanted, tried=self._tried)
        told, self._in_hand = self.told, True
        told.engine, told.queue_s = permit.flow.name, self._clock() - came_s
        try:
            sent = await self._compose(permit)
            self._translates = bool(sent.media)
            self._asked += 1
            attempt = Attempt(
                sent,
                permit,
                self._outlet,
                self._pool_of(permit.flow.where),
                patience=self._patience,
                clock=self._clock,
            )
            try:
                timings = await attempt.run(
                    moves_on=lambda: self._admission.has_idle(permit, self._tried),
                    flees=lambda: self._admission.has_room(permit, self._tried),
                    may_yield=self._wanted.lane is Lane.BACKGROUND and self._displaced < MOST_DISPLACED,
                )
            finally:
                self.relay = attempt.relay
        except Displaced:
            self._asked -= 1
            self._admission.left(permit)
            raise
        except FluidoError as error:
            self._admission.failed(permit, error)
            raise
        except BaseException:
            self._admission.left(permit)
            raise
        self._admission.succeeded(permit, timings)
        await self._finish(sent)
        told.timings = replace(timings, queue_s=timings.queue_s + told.queue_s, retries=told.retries)
        return told.timings

    async def _finish(self, sent: Sent) -> None:
        """The last byte of a stream, or the whole of an answer in one piece."""
        relay, outlet = self.relay, self._outlet
        if relay is None or relay.is_stream or relay.was_passed_on:
            outlet.end()
            return
        if sent.translator is not None:
            body = await off_loop(partial(sent.translator.whole, relay.body), len(relay.body))
            headers = [(b"content-type", b"application/json")] if sent.media else passed_on(relay.headers)
            outlet.whole(200, headers, body)
        else:
            outlet.whole(relay.status, passed_on(relay.headers), relay.body)

    async def _again(self, error: FluidoError) -> bool:
        """An engine failed before a word was heard: whether the call is tried once more."""
        told, engine = self.told, self.told.engine
        told.retries += 1
        # what was given to nobody has waited already for as long as it may
        if told.retries > MOST_RETRIES or not self._in_hand:
            return False
        has_other = self._admission.has_other(self._wanted, {*self._tried, engine})
        self._tried.add(engine)
        if isinstance(error, ModelMissing | CallFailed):
            return has_other and self._asked <= ATTEMPTS
        if isinstance(error, Unreached | EngineBusy):
            self._asked -= 1
        if self._asked >= ATTEMPTS or (isinstance(error, StreamBroken) and error.told and not has_other):
            return False
        if isinstance(error, EngineBusy):
            await self._pause(error)
        return True

    async def _pause(self, error: EngineBusy) -> None:
        """Its own queue or memory is full: it empties as answers end."""
        grown_s = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** min(self.told.retries, 8))
        pause_s = grown_s if isinstance(error, CacheFull) else max(grown_s, error.retry_after_s or 0.0)
        pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        deadline_s, wish_s = self._wanted.deadline_s, error.retry_after_s or 0.0
        if wish_s > LONGEST_WISH_S or (deadline_s is not None and self._clock() + pause_s > deadline_s):
            raise error
        await asyncio.sleep(pause_s)

    @property
    def engines_words(self) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
        """An engine's own refusal, where its words are the client's: status, headers, body."""
        relay = self.relay
        if relay is None or self._translates or relay.status < 400 or relay.status >= 600:
            return None
        body = relay.body
        return (relay.status, passed_on(relay.headers), body) if body.lstrip()[:1] == b"{" else None
