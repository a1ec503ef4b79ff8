"""How many answers at a time are soonest: batching curve S(n) = a + b n, from each token's time.

An answer takes about S(n) seconds beside n - 1 others: a is shared by all (a GPU reads its weights once for
everybody), b is its own (a processor: a is next to nothing). With K in the system, served n at a time, the
mean time of a whole answer is about (K + n) / 2 * S(n) / n, which is least where n (n + 1) passes K a / b.
Who comes while they are served waits as well: the busier the engine, the more; so K counts K / (1 - busy).
That is for answers of one length. Behind a long one the short ones wait for it, and where lengths scatter as
much as exponential ones nothing is won by taking turns; so b counts b (1 - c), c their squared variation.
On a processor with few in the system that is one at a time, on a GPU all of them. Nothing has to be probed,
because how many are in flight varies by itself. Pure arithmetic.
"""

import math
from dataclasses import dataclass

PROMPT, TOKEN = "prompt", "token"  # pieces of work: the first token came, one more came
KEEP = 64  # pieces of a mean
FEWEST_TOKENS, FEWEST_PROMPTS, FEWEST_ANSWERS = 16, 1, 8
SHORT = 4.0  # pieces of an answer, beside its first
WILD = 8.0  # times the mean: more is a pause of the machine
FRESH_S = 60.0  # what was not seen for so long is asked again, by letting in what comes
NEAR = 3.0  # times more or fewer in flight: further away S(n) may be another line
APART, FAR_APART = 1.3, 2.0  # numbers in flight, to tell a slope, and to hold anybody back for it
SATURATED = 0.8  # of the time at work: above, who waits waits for throughput, and for a first token


@dataclass(frozen=True, slots=True)
class Line:
    """An answer takes `shared_s` + `own_s` * n, as seen between `fewest` and `most` in flight."""

    shared_s: float
    own_s: float
    fewest: int
    most: int


class _Times:
    __slots__ = ("prompt_s", "prompts", "seen_s", "token_s", "tokens")

    def __init__(self) -> None:
        self.token_s = self.prompt_s = 0.0
        self.tokens = self.prompts = 0.0
        self.seen_s = 0.0


class Soonest:
    """Learns S(n) from pieces of work, and says how many in flight answer soonest."""

    __slots__ = ("_answers", "_at", "_fitted_s", "_line", "_mean", "_prompts", "_tokens", "_variance")

    def __init__(self) -> None:
        self._at: dict[int, _Times] = {}
        self._tokens = self._prompts = 0.0  # of late: an answer has so many tokens
        self._answers = 0
        self._mean = self._variance = 0.0
        self._line: Line | None = None
        self._fitted_s = -math.inf

    def learn(self, label: str, took_s: float, inflight: int, units: float, now_s: float) -> None:
        """A piece of work took so long, with so many answers in flight."""
        if not (0 < took_s < math.inf and units > 0):
            return
        times = self._at.get(inflight)
        if times is None:
            if len(self._at) >= 2 * KEEP:
                del self._at[min(self._at, key=lambda count: self._at[count].seen_s)]
            times = self._at[inflight] = _Times()
        elif now_s - times.seen_s > FRESH_S:
            times.tokens, times.prompts = min(times.tokens, 1.0), min(times.prompts, 1.0)
        times.seen_s = now_s
        each_s = took_s / units
        if label == PROMPT:
            times.prompts = min(KEEP, times.prompts + 1)
            times.prompt_s += (_tamed(each_s, times.prompt_s, times.prompts) - times.prompt_s) / times.prompts
            self._prompts += 1
            if self._prompts > KEEP:
                self._prompts, self._tokens = self._prompts / 2, self._tokens / 2
        else:
            times.tokens = min(KEEP, times.tokens + units)
            share = min(1.0, units / times.tokens)
            times.token_s += share * (_tamed(each_s, times.token_s, times.tokens) - times.token_s)
            self._tokens += units

    def line(self, now_s: float, around: float) -> "Line | None":
        """S(n) as seen lately near `around`; None while that was at numbers in flight that hardly differ."""
        if now_s - self._fitted_s < 0.25 and self._fitted_s <= now_s:
            return self._line
        self._fitted_s = now_s
        self._line = self._fit(now_s, around)
        return self._line

    def _fit(self, now_s: float, around: float) -> "Line | None":
        tokens = self._tokens / max(1.0, self._prompts)
        weight = x = y = xx = xy = 0.0
        seen: list[int] = []
        for inflight, times in self._at.items():
            known = times.tokens >= FEWEST_TOKENS and times.prompts >= FEWEST_PROMPTS
            near = around / NEAR <= inflight <= around * NEAR
            if not (known and near) or now_s - times.seen_s > FRESH_S:
                continue
            seen.append(inflight)
            seconds = tokens * times.token_s + times.prompt_s
            weight += times.tokens
            x += times.tokens * inflight
            y += times.tokens * seconds
            xx += times.tokens * inflight * inflight
            xy += times.tokens * inflight * seconds
        if not seen or max(seen) < APART * min(seen):
            return None
        spread = xx - x * x / weight
        slope = (xy - x * y / weight) / spread
        base = (y - slope * x) / weight
        return Line(base, slope, min(seen), max(seen))

    def forget(self) -> None:
        """Another engine, as it were: begin anew with how long answers take."""
        self._at.clear()
        self._fitted_s = -math.inf

    def ended(self, units: float) -> None:
        """An answer ended that was so much work."""
        if not 0 < units < math.inf:
            return
        self._answers = min(KEEP, self._answers + 1)
        miss = units - self._mean
        self._mean += miss / self._answers
        self._variance += (miss * (units - self._mean) - self._variance) / self._answers

    @property
    def is_short(self) -> bool:
        """Whether answers are known to be of a few pieces."""
        return self._answers >= FEWEST_ANSWERS and self._tokens <= SHORT * self._prompts

    @property
    def alike(self) -> float:
        """How much alike answers are: 1 less their squared coefficient of variation; 0 until known."""
        if self._answers < FEWEST_ANSWERS:
            return 0.0
        return max(0.0, 1.0 - self._variance / self._mean**2)

    def inflight(self, in_system: int, busy: float, now_s: float, around: float) -> float:
        """How many should be in flight with so many in the system; infinity: no reason to hold any back.

        `busy` is the share of late in which the engine was at work.
        """
        line = None if busy >= SATURATED else self.line(now_s, around)
        if line is None or line.most < FAR_APART * line.fewest:
            return math.inf
        own_s = line.own_s * self.alike
        if own_s <= 0:
            return math.inf
        worth = in_system / (1.0 - busy) * max(0.0, line.shared_s) / own_s
        soonest = math.ceil((math.sqrt(1.0 + 4.0 * worth) - 1.0) / 2.0)
        return float(max(1, soonest, line.fewest // 2))

    def elasticity(self, inflight: float, now_s: float) -> float | None:
        """d ln throughput / d ln n there; None: unknown.

        Near 1 one more costs the others nothing, at 0 as much as it brings, and below it is a loss.
        """
        line = self.line(now_s, inflight)
        whole_s = 0.0 if line is None else line.shared_s + line.own_s * inflight
        return None if line is None or whole_s <= 0 else line.shared_s / whole_s


def _tamed(seconds: float, mean_s: float, count: float) -> float:
    return min(seconds, WILD * mean_s) if count > 4 else seconds
