"""What happened in one slot of time under one limit, and what two such slots say about each other."""

import math
import zlib
from abc import ABC, abstractmethod

from fluido._measure import Ewma
from fluido._sample import Outcome, Sample
from fluido.laws._base import Decision
from fluido.laws._mix import OTHERS, Mix

FEWEST = 10  # calls in a slot: below, it says nothing
FULL, BINDING = 0.9, 0.8  # of the limit, and of those who start: then the limit, not the demand, decided
OTHERS_LIMIT = 0.2  # of those who start: above, the slot had another limit than ours
LONG_TIME = (
    0.2  # of the time in service spent in long calls, above which they bend the count of the short ones
)
LAST_S = 1e11  # beyond, a float cannot tell the slots of one second apart
SAME_WORK, FOLLOWS = 0.5, 0.3  # the overlap of two mixes, and how fast the usual one follows
MASK = (1 << 64) - 1


def drawn(key: str, number: int) -> int:
    """A number of 64 bits, the same on every replica that has this key (the finaliser of splitmix64)."""
    spread = (zlib.crc32(key.encode()) ^ number * 0x9E3779B97F4A7C15) & MASK
    spread = (spread ^ (spread >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    spread = (spread ^ (spread >> 27)) * 0x94D049BB133111EB & MASK
    return spread ^ (spread >> 31)


class Slot:
    """What ended between `from_s` and `until_s`, the first moments left out, under `limit`."""

    __slots__ = (
        "calls",
        "classes",
        "enough",
        "from_s",
        "full",
        "inflight",
        "limit",
        "longest_s",
        "opened_s",
        "other_limit",
        "settled",
        "started",
        "until_s",
    )

    def __init__(self, limit: float, from_s: float, until_s: float, settle_s: float) -> None:
        self.limit = limit
        self.enough = min(FULL * limit, math.floor(limit))  # of a fraction, only some see one more
        self.opened_s = from_s
        self.from_s = from_s + settle_s
        self.until_s = until_s
        self.longest_s = until_s - from_s  # a longer call is not seen in a slot, it only takes room
        self.calls = 0
        self.started = self.settled = 0
        self.full = 0
        self.inflight = 0
        self.other_limit = 0
        self.classes: dict[
            str, list[float]
        ] = {}  # per label: short calls, their seconds, long calls, theirs, work

    def ended(self, sample: Sample, offset_s: float) -> None:
        """A call ended. Once a call: what can wait until the slot is closed waits."""
        label, started_s, now_s, _, inflight, limit, _, units, _ = sample
        service_s = now_s - started_s
        if now_s + offset_s < self.from_s:
            return
        self.calls += 1
        if started_s + offset_s >= self.opened_s:
            self.started += 1
            self.full += inflight >= self.enough
            self.other_limit += limit != self.limit
            if started_s + offset_s >= self.from_s:
                self.settled += 1
                self.inflight += inflight
        seen = self.classes.get(label)
        if seen is None:
            seen = self.classes[label] = [0.0, 0.0, 0.0, 0.0, 0.0]
        if service_s <= self.longest_s:
            seen[0] += 1.0
            seen[1] += service_s
        else:
            seen[2] += 1.0
            seen[3] += service_s
        seen[4] += units if 0 < units < math.inf else 1.0

    @property
    def length_s(self) -> float:
        """Seconds that count."""
        return self.until_s - self.from_s

    @property
    def call_rate(self) -> float:
        """Calls a second."""
        return self.calls / self.length_s

    @property
    def mean_service_s(self) -> float:
        """Of all that ended."""
        return sum(seen[1] + seen[3] for seen in self.classes.values()) / self.calls if self.calls else 0.0

    @property
    def sound(self) -> bool:
        """Enough calls, and under our limit: one that is pinned, or not yet reached, measures itself."""
        return self.calls >= FEWEST and self.started > 0 and self.other_limit <= OTHERS_LIMIT * self.started

    @property
    def binding(self) -> bool:
        """Whether the limit, and not the demand, decided how many were inside."""
        return self.full >= BINDING * self.started > 0

    @property
    def mean_inflight(self) -> float:
        """As those saw it who started after the first moments; the limit where nobody has ended who did."""
        return self.inflight / self.settled if self.settled else self.limit

    @property
    def long_share(self) -> float:
        """The share of the time in service that was spent in long calls."""
        long_s = sum(seen[3] for seen in self.classes.values())
        total_s = long_s + sum(seen[1] for seen in self.classes.values())
        return long_s / total_s if total_s else 0.0


class WorkMeter:
    """Counts finished calls into the slot that is open, each weighed by what its class costs."""

    __slots__ = ("_largest", "_long", "_mix", "_offset_s", "_usual", "_weights", "slot")

    def __init__(self, wall_offset_s: float) -> None:
        self.slot: Slot | None = None
        self._offset_s = wall_offset_s
        self._mix = Mix()
        self._weights: dict[str, float] = {}
        self._long = Ewma(0.1)
        self._usual: dict[str, float] = {}  # the share of each class in the calls of late
        self._largest = ""

    def wall_s(self, now_s: float) -> float:
        """A time on the flow's clock, by the wall clock; NaN for what is no time of this era."""
        now_s += self._offset_s
        return now_s if abs(now_s) < LAST_S else math.nan

    def take(self, sample: Sample) -> float:
        """Count one call in the open slot, unless it ended after it; when it ended, NaN for nonsense."""
        now_s = sample.finished_s + self._offset_s
        if not (sample.started_s <= sample.finished_s and sample.started_s > -LAST_S and now_s < LAST_S):
            return math.nan
        slot = self.slot
        if slot is not None and now_s < slot.until_s and sample.outcome is Outcome.OK:
            slot.ended(sample, self._offset_s)
        return now_s

    def close(self) -> Slot | None:
        """Take the open slot away."""
        slot, self.slot = self.slot, None
        if slot is not None and slot.calls:
            self._long.add(slot.long_share)
            for label, (short, short_s, long, long_s, units) in slot.classes.items():
                self._mix.add(label, (short_s + long_s) / units, int(short + long))
            self._weights = dict(self._mix.weights(math.inf)[0])
        return slot

    def rate(self, slot: Slot) -> float:
        """Work a second, each class weighed by what it costs, a call of the mean cost being one."""
        weights = self._weights
        others = weights.get(OTHERS, 1.0)
        work = sum(units * weights.get(label, others) for label, (*_, units) in slot.classes.items())
        return work / slot.length_s

    def work(self, slot: Slot) -> tuple[str, str]:
        """The largest class of the work before a slot, and in it: as before while half of the mix is."""
        shares, before, usual = self._shares(slot), self._largest, self._usual
        if not shares:
            return before, before
        other = self.is_other(slot)
        keep = 0.0 if other or not usual else 1.0 - FOLLOWS
        names = usual.keys() | shares.keys()
        self._usual = {
            name: keep * usual.get(name, 0.0) + (1 - keep) * shares.get(name, 0.0) for name in names
        }
        self._largest = max(shares, key=shares.__getitem__) if other or not usual else before
        return (before if usual else self._largest), self._largest

    def is_other(self, slot: Slot) -> bool:
        """Whether most calls so far are of other classes than usual."""
        usual = self._usual
        common = sum(min(share, usual.get(name, 0.0)) for name, share in self._shares(slot).items())
        return bool(usual and slot.calls) and common < SAME_WORK

    def _shares(self, slot: Slot) -> dict[str, float]:
        total = sum(seen[0] + seen[2] for seen in slot.classes.values())
        shares: dict[str, float] = {}
        for label, seen in slot.classes.items():
            name = self._mix.name(label)
            shares[name] = shares.get(name, 0.0) + (seen[0] + seen[2]) / total
        return shares

    def gain(self, one: Slot, other: Slot) -> tuple[float, float]:
        """ln of the throughput of one slot over the other's, and its variance from counting alone.

        Long calls stay inside through both slots. The step of the limit then falls on the short ones, whose
        throughput looks as if more in flight paid; so where long calls have a part of the time, it is taken
        from what the short ones took: N/R, class by class (Little's law), with N all calls inside. That only
        ever takes from the higher limit, and never says more for it than what really ended: of a slot that is
        short beside its calls the quick ones alone are seen, and they are quick under any limit.
        """
        plain = math.log(self.rate(one) / self.rate(other))  # by the same weights
        total = slower = 0.0
        if self._long.value >= LONG_TIME:
            for label, (calls, seconds, *_) in one.classes.items():
                others, others_s = other.classes.get(label, (0.0, 0.0))[:2]
                if seconds > 0 and others_s > 0:
                    weight = calls * others / (calls + others)
                    total += weight
                    slower += weight * math.log(seconds / calls * others / others_s)
        if not total:
            return plain, 1 / one.calls + 1 / other.calls
        by_time = math.log(one.mean_inflight / other.mean_inflight) - slower / total
        return (min if one.limit > other.limit else max)(plain, by_time), 1 / total


class BySlots(ABC):
    """A law that cuts time into slots: what ended goes into the open one, and `_at` says when it is over."""

    _meter: WorkMeter
    _decision: Decision

    @property
    def value(self) -> float:
        """The limit in force: what is held, or a probe that it is compared with."""
        return self._decision.value

    def observe(self, sample: Sample, /) -> Decision:
        """Learn from one call that ended."""
        meter = self._meter
        now_s = meter.take(sample)
        if now_s == now_s and self._at(now_s):  # noqa: PLR0124  (not NaN)
            meter.take(sample)  # of the slot that was opened for it
        return self._decision

    def tick(self, now_s: float, /) -> Decision:
        """Time passed without news: close the slot that ended."""
        now_s = self._meter.wall_s(now_s)
        if math.isfinite(now_s):
            self._at(now_s)
        return self._decision

    @abstractmethod
    def _at(self, now_s: float) -> bool:
        """Where the open slot has ended: judge it, and open the next one. Whether that was so."""
