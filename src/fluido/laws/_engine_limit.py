"""The in-flight limit of an engine that answers token by token: the ladder over work, under a backlog rule.

The limit begins at what the engine does by itself: its slots, or, where it tells none, what comes. Where it
tells none but is of a kind that works on few at a time, it begins at twice those, and opens as the engine is
heard to answer most at once. While it binds, the ladder (laws/_ladder.py) compares neighbouring limits
by the work done a second, where work is tokens as they come, and first tokens, which count as much as a
prompt usually takes. While the engine has time to rest, fewer may be in flight than the limit: as many as
answer soonest (laws/_soonest.py). Where the time of a token says that one more costs the others little, no
lower limit is tried, and where as many wait as are in flight it leaps. What the engine itself says overrules
all: calls that it refused, or that waited inside it, bound the limit, until that is asked again.

A limit that falls is reached only as answers end, and what happens until then belongs to no limit. So the
ladder's time stands still meanwhile.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from fluido._measure import Ewma
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision
from fluido.laws._ladder import Ladder
from fluido.laws._rungs import Tuning
from fluido.laws._soonest import PROMPT, Soonest

LATE = "late"  # a piece of work that waited inside the engine; `inflight` counts who was served before it
UNKNOWN_START, UNKNOWN_CEILING = 64, 256
# An engine of usually n slots that does not tell begins at so many times n: what it holds beyond its slots is
# first come first served, and the callers' deadlines pass there.
SPARE = 2
# While it answers most of what it has at once, it has more slots than are in use: so many times more come in.
AT_ONCE, MORE = 0.75, 8
# A lower limit must gain: at the same throughput more in flight have their first token earlier. Answers begin
# and end together, so pieces scatter in lumps: two standard errors.
TUNING = Tuning(calls=100, shortest_s=0.5, longest_s=4.0, tie=-0.75, sure=2.0, leaps=False)
# Elasticity of the throughput: above the first more in flight surely do more, below the second less.
STEEP, FALLING = 0.5, -0.15
LOOK_S = 0.5
FULL = 0.75  # of the limit in flight, on average
WAITED_SHARE = 0.5  # of the time: below, a higher limit would let nobody in
CROWD = 2.0  # times the limit in the system: a queue stands; and at least so many are a crowd
CROWD_S = 2.0  # what comes for so long may be too many
ANSWERS = 12  # over which the busy share is averaged
BUSY_SHORTEST_S, BUSY_LONGEST_S = 1.0, 60.0
TOLD_TWICE, TOLD_WITHIN_S = 2, 30.0
LATE_KEPT = 4
FIRST_HOLD_S, LONGEST_HOLD_S = 60.0, 3600.0


@dataclass(slots=True)
class _Crowd:
    """Since when many have been in flight, and how many at most; how many of them are `heard`.

    Those have had their first token, and not ended.
    """

    since_s: float = math.inf
    most: int = 0
    heard: int = 0

    def parts(self) -> None:
        """There are few again, or as many as the engine likes."""
        self.since_s, self.most = math.inf, 0


@dataclass(slots=True)
class _Busy:
    """The share of late in which the engine was at work, from the seconds in which it was so far."""

    share: float = 0.0
    at_s: float = -math.inf
    sum_s: float = 0.0
    answer_s: float = 0.0  # of late

    def see(self, now_s: float, busy_s: float) -> None:
        """Follow it, over some answers' time."""
        over_s = min(max(ANSWERS * self.answer_s, BUSY_SHORTEST_S), BUSY_LONGEST_S)
        passed_s = now_s - self.at_s
        if math.isinf(passed_s) or passed_s < 0:
            self.at_s, self.sum_s = now_s, busy_s
        elif passed_s > 0.02 * over_s:
            share = min(1.0, max(0.0, (busy_s - self.sum_s) / passed_s))
            self.share += (1.0 - math.exp(-passed_s / over_s)) * (share - self.share)
            self.at_s, self.sum_s = now_s, busy_s


class EngineLimit:
    """Decides how many calls are in flight at one engine. `slots=None`: it does not tell how many it has,
    `usual_slots` is how many engines of its kind have (None: nobody knows).

    `observe` is told of answers that ended, `progress` of pieces of work, `room` of who is in the system.
    ValueError unless 1 <= slots and 1 <= most.
    """

    name = "engine"
    floor = 1.0

    def __init__(
        self,
        slots: int | None = None,
        *,
        usual_slots: int | None = None,
        most: int = UNKNOWN_CEILING,
        key: str = "",
    ) -> None:
        if min(slots or 1, usual_slots or 1, most) < 1 or 0 in {slots, usual_slots}:
            raise ValueError(f"an engine has at least one slot, not {slots} or {usual_slots} of {most}")
        self._most = most if slots is None else min(slots, most)
        self._key = key
        unknown = UNKNOWN_START if usual_slots is None else SPARE * usual_slots
        self._ladder = self._built(min(unknown, most) if slots is None else self._most, self._most)
        self._is_open = slots is None  # what comes is let in, up to the start
        self._soonest = Soonest()
        self._clock_s = self._seen_s = 0.0  # the ladder's time, and when it last went on
        self._looked_s = -math.inf
        self._company, self._waits = Ewma(0.05), Ewma(0.05)
        self._crowd = _Crowd()
        self._backlog = 0
        self._busy = _Busy()
        self._refused: deque[tuple[float, int]] = deque(maxlen=LATE_KEPT)
        self._late: deque[tuple[float, int]] = deque(maxlen=UNKNOWN_START)
        self.found_slots: int | None = None
        self._hold_s, self._held_until_s = FIRST_HOLD_S, math.inf
        self._bound_s = -math.inf
        self._decision = self._ladder.tick(-math.inf)

    def _built(self, start: int, ceiling: int) -> Ladder:
        return Ladder(
            start=start,
            ceiling=ceiling,
            key=self._key,
            tuning=TUNING,
        )

    @property
    def value(self) -> float:
        """The limit in force while a queue stands."""
        return self._decision.value

    @property
    def ceiling(self) -> float:
        """As many as the engine has slots, told or found."""
        return float(self._most)

    @property
    def reference(self) -> int:
        """What the engine does by itself."""
        return self._ladder.reference

    @property
    def busy(self) -> float:
        """The share of late in which the engine was at work."""
        return self._busy.share

    @property
    def words(self) -> str:
        """The limit, the reference, and the last comparison, for a person."""
        return self._ladder.words

    def room(self, now_s: float, in_system: int, busy_s: float) -> float:
        """How many may be in flight now, with `in_system` in flight and waiting.

        `busy_s`: seconds so far in which anything was in flight.
        """
        self._backlog = in_system
        self._busy.see(now_s, busy_s)
        if in_system >= CROWD * self.value:
            return self.value  # a queue stands: the larger throughput is soonest
        return max(
            1.0, min(self.value, self._soonest.inflight(in_system, self._busy.share, now_s, self._near))
        )

    @property
    def _near(self) -> float:
        return max(1.0, self._company.value)

    def progress(self, sample: Sample, /) -> Decision:
        """Learn from a piece of work: from the token before (or the start) to this one."""
        now_s, took_s = sample.finished_s, sample.finished_s - sample.started_s
        if not (0 <= took_s < math.inf and math.isfinite(now_s)):
            return self._decision
        if sample.label == LATE:
            return self._waited_inside(now_s, sample.inflight)
        if sample.started_s >= self._bound_s and sample.inflight <= self._ladder.ceiling:
            self._soonest.learn(sample.label, took_s, sample.inflight, sample.units, now_s)
        self._crowd.heard += sample.label == PROMPT
        passed_s, self._seen_s = now_s - self._seen_s, now_s
        if sample.inflight > self._ladder.value:
            return self._decision  # on the way down
        self._clock_s += max(0.0, passed_s)
        self._company.add(sample.inflight)
        self._crowd.most = max(self._crowd.most, sample.inflight)
        self._waits.add(self._backlog > sample.inflight)
        if sample.label == PROMPT and self._is_open and self._backlog > sample.inflight:
            self._open(sample.inflight)
        if not 0 <= now_s - self._looked_s < LOOK_S:
            self._looked_s = now_s
            self._look(now_s)
        if self._is_open:
            return self._decision
        at_s = self._clock_s
        piece = sample._replace(started_s=at_s - took_s, finished_s=at_s, wait_s=0.0)
        return self._say(self._ladder.observe(piece))

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from an answer that ended, or a call that the engine refused."""
        now_s, service_s = sample.finished_s, sample.finished_s - sample.started_s
        if not (0 <= service_s < math.inf and math.isfinite(now_s)):
            return self._decision
        self._crowd.heard = max(0, self._crowd.heard - 1)
        if sample.outcome is Outcome.OVERLOAD:
            self._refused.append((now_s, sample.inflight))
            told = [count for at_s, count in self._refused if now_s - at_s <= TOLD_WITHIN_S]
            if len(told) >= TOLD_TWICE and min(told) - 1 < self.value:
                return self._bound(now_s, max(1, min(told) - 1), "engine_refuses")
        elif sample.outcome is Outcome.OK:
            self._soonest.ended(sample.units)
            mean_s = self._busy.answer_s
            self._busy.answer_s = mean_s + 0.2 * (service_s - mean_s) if mean_s else service_s
        if now_s >= self._held_until_s:
            return self._ask_again()
        return self._decision

    def tick(self, now_s: float, /) -> Decision:  # noqa: ARG002  (the Law protocol names it)
        """Time alone teaches nothing."""
        return self._decision

    def _look(self, now_s: float) -> None:
        """What the time of a token says of more and of fewer in flight."""
        elasticity = self._soonest.elasticity(self._near, now_s)
        steep = elasticity is not None and elasticity >= STEEP
        falls = elasticity is not None and elasticity <= FALLING
        if self._is_open:
            if steep or self._company.value < CROWD:
                self._crowd.parts()
            self._crowd.since_s = min(self._crowd.since_s, now_s)
            if now_s - self._crowd.since_s >= CROWD_S:
                self._close()
            return
        ladder = self._ladder
        ladder.place.no_lower = steep
        ladder.place.no_higher = falls or self._waits.value < WAITED_SHARE
        if steep and self._backlog >= 2 * ladder.limit:
            ladder.leap(1)
        elif falls and self._near >= FULL * ladder.limit:
            ladder.leap(-1)

    def _open(self, inflight: int) -> None:
        """A first token came while others wait to be let in: an engine that has more slots is given more."""
        limit = self._ladder.limit
        if min(self._crowd.heard, inflight) >= AT_ONCE * limit:
            more = MORE * limit
        else:
            # short answers are never many at once; nor are those of an engine of one slot, which soon tells
            more = max(limit, UNKNOWN_START) if self._soonest.is_short else limit + (self._crowd.heard <= 1)
        if (start := min(more, self._most)) > limit:
            self._ladder = self._built(start, self._most)
            self._say(Decision(float(start), "answered_at_once", {"heard": float(self._crowd.heard)}))

    def _close(self) -> None:
        """Nothing shows that all who came are too many, or not: begin to compare, at as many as came."""
        self._is_open = False
        came = max(1, min(self._most, self._crowd.most))
        self._ladder = self._built(came, self._most)
        self._say(Decision(float(came), "as_many_as_came", {}))

    def _waited_inside(self, now_s: float, served: int) -> Decision:
        """A call waited inside the engine, behind `served` others and itself: so many slots it has."""
        self._late.append((now_s, served))
        told = [count for at_s, count in self._late if now_s - at_s <= TOLD_WITHIN_S]
        # Answers that began together end together: of those behind them the last shows how many they were.
        is_whole = now_s - self._late[0][0] >= self._busy.answer_s
        if len(told) >= TOLD_TWICE and is_whole and max(told) < self.value:
            self.found_slots = max(1, *told)
            return self._bound(now_s, self.found_slots, "engine_queue")
        return self._decision

    def _bound(self, now_s: float, slots: int, reason: str) -> Decision:
        self._refused.clear()
        self._late.clear()
        self._soonest.forget()  # some of it was the wait inside the engine
        self._bound_s = now_s
        self._held_until_s = now_s + self._hold_s
        self._hold_s = min(LONGEST_HOLD_S, 2 * self._hold_s)
        self._is_open = False
        self._ladder = self._built(slots, slots)
        return self._say(Decision(float(slots), reason, {"slots": float(slots)}))

    def _ask_again(self) -> Decision:
        """A little more than was refused, now and then: engines are restarted with other settings."""
        bound = self._ladder.ceiling
        self._held_until_s = math.inf
        limit = self._ladder.limit
        self._ladder = self._built(limit, int(min(self._most, bound + max(1.0, bound // 8))))
        return self._say(Decision(self._ladder.value, "ask_again", {"slots": bound}))

    def _say(self, decision: Decision) -> Decision:
        if decision.value != self._decision.value:
            inputs: Mapping[str, float] = {**decision.inputs, "busy": self._busy.share}
            self._decision = Decision(decision.value, decision.reason, inputs)
        return self._decision


__all__ = ["LATE", "PROMPT", "UNKNOWN_START", "EngineLimit"]
