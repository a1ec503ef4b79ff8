"""One attempt at one engine: a call that has its permit is streamed to its readers, and watched."""

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from fluido.errors import FluidoError
from fluido.llm._call import Call, Timings
from fluido.llm._errors import StreamBroken
from fluido.llm._relay import Relay
from fluido.llm._silence import Patience, SilenceWatch
from fluido.llm.admission import Seat, Station
from fluido.llm.prompt import Composer, Prompt, only_thoughts


class Attempt:
    """Sends `prompt` to the engine of `station` and passes what comes to `relay`."""

    def __init__(
        self,
        prompt: Prompt,
        station: Station,
        seat: Seat,
        relay: Relay,
        *,
        composer: Composer,
        patience: Patience,
        clock: Callable[[], float],
    ) -> None:
        self._composer = composer
        self._patience = patience
        self._clock = clock
        self._prompt = prompt
        self._station = station
        self._seat = seat
        self._relay = relay
        self._said: list[str] = []
        self._thought = False

    async def run(self, *, moves_on: Callable[[], bool], flees: Callable[[], bool]) -> tuple[Timings, str]:
        """The end and the whole text. `moves_on`: whether an idle engine may take it, its first token late;
        `flees`: whether any other could in time.

        Raises what the engine raises, WaitTimeout at the deadline of the first token, StreamBroken when the
        engine is silent and does not answer questions either.
        """
        timings = await self._watched(moves_on=moves_on, flees=flees)
        station, seat = self._station, self._seat
        if timings is None:
            raise StreamBroken(f"{station.name} ended without timings")
        station.answered(seat, timings)
        answer = "".join(self._said)
        if self._thought and not answer.strip():
            raise only_thoughts(timings)
        return timings, answer

    def _call(self) -> Call:
        call, window = self._prompt.call, self._station.followed_tokens
        return replace(call, window_tokens=window) if window else call

    async def _watched(self, *, moves_on: Callable[[], bool], flees: Callable[[], bool]) -> Timings | None:
        loop, station, seat = asyncio.get_running_loop(), self._station, self._seat
        deadline_s = self._prompt.call.deadline_s
        left_s = None if deadline_s is None else max(0.0, deadline_s - self._clock())
        guard = asyncio.timeout(left_s)
        watch = SilenceWatch(
            station.lives,
            lambda: guard.reschedule(loop.time()),
            self._patience,
            moves_on=moves_on,
            flees=flees,
            expected_s=seat.demand.first_token_s,
            left_s=math.inf if left_s is None else left_s,
        )
        try:
            async with guard:
                return await self._read(guard, watch)
        except TimeoutError as error:
            raise watch.why(station.name, self._clock() - seat.started_s) from error
        except FluidoError:
            seat.refused = True
            raise
        except Exception as error:
            # Whatever an adapter stumbles over is told as an engine that broke off, and logged.
            station.faults.note(error, "stream")
            raise StreamBroken(f"{station.name} cannot be read: {error!r}") from error
        finally:
            watch.close()

    async def _read(self, guard: asyncio.Timeout, watch: SilenceWatch) -> Timings | None:
        timings: Timings | None = None
        seat, relay = self._seat, self._relay
        slot = seat.place.slot if seat.residency.pins and seat.place.slot >= 0 else None
        async with aclosing(self._station.engine.stream(self._call(), slot=slot)) as upstream:
            async for item in upstream:
                if isinstance(item, Timings):
                    timings = item
                    continue
                if not seat.prefilled:
                    seat.prefilled = True
                    guard.reschedule(None)
                self._station.progressed(seat)
                relay.put(item)
                self._said.append(item.text)
                if item.thinking and not self._thought:
                    self._thought = True
                    self._composer.thought(self._prompt, self._station.facts)
                if relay.full:
                    await relay.room(self._patience.slow_reader_s)
                    if not relay.readers:
                        raise StreamBroken("nobody reads this answer", told=True)
                watch.heard()
        return timings
