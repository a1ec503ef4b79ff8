"""Concurrency limit of one engine: a law that is obeyed and hears the engine at work, or a pin.

A law that reads the engine by its tokens (`EngineLimit`) is told of every piece of an answer; any other only
of calls that ended.
"""

from collections.abc import Callable
from dataclasses import replace

from fluido._metrics import FlowStats, Meter
from fluido._sample import Outcome, Sample
from fluido.flow._obeyed import Obeyed
from fluido.laws._base import Law
from fluido.laws._engine_limit import LATE, UNKNOWN_CEILING, EngineLimit
from fluido.laws._fixed import Fixed
from fluido.laws._soonest import PROMPT, TOKEN
from fluido.llm._engine import EngineFacts
from fluido.llm.admission._seats import Seat, Seats
from fluido.llm.admission._slots import UNKNOWN_SLOTS


def adapting(facts: EngineFacts, *, key: str, most: int = UNKNOWN_CEILING) -> EngineLimit:
    """The law that finds an engine's limit, at most `most`, beginning at what is known of it."""
    return EngineLimit(facts.slots, usual_slots=facts.usual_slots, most=most, key=key)


class Limit:
    """How many calls may be in flight. `make` makes the law once the engine is known."""

    def __init__(
        self, make: Callable[[EngineFacts], Law], seats: Seats, meter: Meter, clock: Callable[[], float]
    ) -> None:
        self._make = make
        self._seats = seats
        self._meter = meter
        self._clock = clock
        self._obeyed = Obeyed(Fixed(UNKNOWN_SLOTS))
        self._adapting: EngineLimit | None = None
        self._pinned: float | None = None

    @property
    def law(self) -> Law:
        """What decides it."""
        return self._obeyed.law

    @property
    def is_pinned(self) -> bool:
        """Whether the law is not listened to."""
        return self._pinned is not None

    def anew(self, facts: EngineFacts) -> None:
        """Another engine than before, or another number of slots: a new law."""
        law = self._make(facts)
        self._obeyed = Obeyed(law)
        self._adapting = law if isinstance(law, EngineLimit) else None

    def pin(self, value: float) -> None:
        """Hold it at `value`."""
        if value < 1:
            raise ValueError(f"an engine needs a limit of at least 1, not {value}")
        self._pinned = value

    def unpin(self) -> None:
        """Obey the law again."""
        self._pinned = None

    def of(self, in_system: int) -> int:
        """The limit where so many are in the system, in flight or in line."""
        if self._pinned is not None:
            return max(1, int(self._pinned))
        if self._adapting is None:
            return max(1, int(self._obeyed.value))
        return max(1, int(self._adapting.room(self._clock(), in_system, self._seats.busy_s)))

    def progressed(self, seat: Seat, waiting: int) -> bool:
        """A piece of the answer came: a token, or what the engine sends at a time. Whether it changed."""
        now_s = self._clock()
        if not seat.pieces:
            seat.before = self._seats.before(seat)
        is_changed = self._tell_piece(seat, TOKEN if seat.pieces else PROMPT, now_s, 1.0, waiting)
        seat.heard_s = now_s
        seat.pieces += 1
        return is_changed

    def ending(self, seat: Seat, now_s: float, waiting: int) -> None:
        """What is known only now: tokens that came as one piece, and a wait inside the engine."""
        if seat.outcome is Outcome.OK and not seat.pieces:
            self._tell_piece(seat, PROMPT, now_s, 1.0, waiting)
        left = seat.tokens - max(1, seat.pieces)
        if seat.outcome is Outcome.OK and left > 0:
            if seat.pieces > left or not seat.pieces:
                seat.heard_s = now_s  # most were heard one by one, or all came at once: no time of their own
            seat.pieces += 1
            self._tell_piece(seat, TOKEN, now_s, float(left), waiting)
        if seat.crowded and seat.before and self._adapting is not None:
            piece = Sample(LATE, seat.started_s, now_s, seat.waited_s, seat.before, seat.limit)
            self._obeyed.hear(self._adapting.progress, piece)

    def ended(self, seat: Seat, now_s: float, mean_inflight: float) -> None:
        """A call ended, beside so many on average."""
        if seat.outcome is Outcome.OK:
            self._meter.completed += 1
            self._meter.services.record(now_s - seat.started_s)
        elif seat.outcome is Outcome.OVERLOAD:
            self._meter.overloads += 1
        self._obeyed.observe(
            Sample(
                seat.demand.label,
                seat.started_s,
                now_s,
                seat.waited_s,
                seat.inflight,
                seat.limit,
                self._told(seat),
                seat.units,
                mean_inflight,
            )
        )

    def stats(self, waiting: int) -> FlowStats:
        """Figures of the limit, and of the calls that it let in."""
        log = self._obeyed.log
        stats = self._meter.stats(
            self._obeyed.law,
            log,
            log.reasons,
            value=self._obeyed.value if self._pinned is None else self._pinned,
            inflight=self._seats.inflight,
            waiting=waiting,
        )
        return replace(stats, pinned=self._pinned is not None)

    def _tell_piece(self, seat: Seat, label: str, now_s: float, units: float, waiting: int) -> bool:
        law = self._adapting
        if law is None:
            return False
        since_s = seat.heard_s if seat.pieces else seat.started_s
        inflight = self._seats.inflight
        limit = float(self.of(inflight + waiting))
        piece = Sample(label, since_s, now_s, seat.waited_s, inflight, limit, units=units)
        return self._obeyed.hear(law.progress, piece)

    def _told(self, seat: Seat) -> Outcome:
        """A first token that is late says nothing of the limit to a law that hears the engine itself."""
        if self._adapting is None:
            return Outcome.OVERLOAD if seat.crowded else seat.outcome
        late = seat.outcome is Outcome.OVERLOAD and not seat.refused
        return Outcome.IGNORED if late else seat.outcome
