"""What serving a call will take, learned from the engine's own figures: rates per token, lengths per kind."""

import math

from fluido.llm._call import Kind, Timings

FIRST_PREFILL_PER_S = 300.0
FIRST_DECODE_PER_S = 30.0
KEPT = 0.9  # of what was known, at each answer
# A prompt is believed to take at most so many times what the longest of late took: small ones cost a call's
# overhead a token, and nobody is refused for what that makes of a long one.
BEYOND, KEPT_LONGEST = 2.0, 0.99
FIRST_OUTPUT_TOKENS = {Kind.SHORT: 60.0, Kind.MEDIUM: 200.0, Kind.LONG: 500.0, Kind.CODE: 300.0}
PRIOR_ANSWERS = 5
FORGET = 0.98
REGRESSION_ANSWERS = 16
REGRESSION_SPREAD_TOKENS = 60.0
EVIDENCE_ANSWERS = 4
LEARN_FROM_S = 0.05
SLOWEST, FASTEST = 4.0, 0.02


class Rate:
    """Seconds a token: all seconds by all tokens of some ten answers. The first one replaces the guess."""

    __slots__ = ("_seconds", "_tokens", "token_s")

    def __init__(self, guess_per_s: float) -> None:
        self.token_s = 1.0 / guess_per_s
        self._seconds = self._tokens = 0.0

    def learn(self, seconds: float, tokens: float) -> None:
        """So many tokens took so long."""
        self._seconds = KEPT * self._seconds + seconds
        self._tokens = KEPT * self._tokens + tokens
        self.token_s = self._seconds / self._tokens


class ContextCost:
    """How much slower a token comes the more context it looks at: a line through what answers took.

    Least squares with exponential forgetting. Attention costs in proportion to the context, the weights cost
    the same for every token; which of the two rules depends on the model and the machine.
    """

    __slots__ = ("_n", "_x", "_xx", "_xy", "_y", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def learn(self, context_tokens: float, token_s: float) -> None:
        """At `context_tokens` an output token took `token_s`."""
        self.seen += 1
        self._n = FORGET * self._n + 1.0
        self._x = FORGET * self._x + context_tokens
        self._y = FORGET * self._y + token_s
        self._xx = FORGET * self._xx + context_tokens**2
        self._xy = FORGET * self._xy + context_tokens * token_s

    @property
    def doubled_at_tokens(self) -> float | None:
        """The context at which a token costs twice as much as at none; None where that does not show."""
        if self.seen < REGRESSION_ANSWERS:
            return None
        mean, level = self._x / self._n, self._y / self._n
        variance = self._xx / self._n - mean**2
        if variance < REGRESSION_SPREAD_TOKENS**2:
            return None
        slope = (self._xy / self._n - mean * level) / variance
        base_s = level - slope * mean
        return base_s / slope if slope > 0 and base_s > 0 else None


class Estimate:
    """One per engine and model.

    Rates are of one call at the concurrency that was in force; `alone` of calls that shared the engine with
    no other. A guess about an unknown machine is forgotten after a few answers.
    """

    __slots__ = ("_alone", "_decode", "_kinds", "_longest_s", "_prefill", "answers", "context")

    def __init__(self) -> None:
        self.answers = 0
        self.context = ContextCost()
        self._prefill, self._decode = Rate(FIRST_PREFILL_PER_S), Rate(FIRST_DECODE_PER_S)
        self._alone = (Rate(FIRST_PREFILL_PER_S), Rate(FIRST_DECODE_PER_S))
        self._kinds: dict[Kind, tuple[int, float]] = {}
        self._longest_s = 0.0

    @property
    def is_a_guess(self) -> bool:
        """Whether too few answers were seen to refuse anybody for what they say."""
        return self.answers < EVIDENCE_ANSWERS

    @property
    def prefill_per_s(self) -> float:
        """Prompt tokens computed per second."""
        return 1.0 / self._prefill.token_s

    @property
    def decode_per_s(self) -> float:
        """Output tokens per second."""
        return 1.0 / self._decode.token_s

    def prefill_s(self, tokens: int) -> float:
        """Seconds to compute `tokens` that are not resident."""
        return tokens * self._prefill.token_s

    def seen_prefill_s(self, tokens: int) -> float:
        """The same, and not far beyond what was seen: what a call may be refused for."""
        most_s = math.inf if self.is_a_guess or not self._longest_s else BEYOND * self._longest_s
        return min(self.prefill_s(tokens), most_s)

    def output_tokens(self, kind: Kind, bound: int | None) -> float:
        """The expected length.

        The mean of the kind, shrunk towards the prior while few were seen, under `bound`.
        """
        count, mean = self._kinds.get(kind, (0, 0.0))
        weight = count / (count + PRIOR_ANSWERS)
        expected = weight * mean + (1 - weight) * FIRST_OUTPUT_TOKENS[kind]
        return expected if bound is None or bound < 0 else min(expected, float(bound))

    def cost_s(self, uncached_tokens: int, output_tokens: float) -> float:
        """Seconds of engine time for one call."""
        return self.seen_prefill_s(uncached_tokens) + output_tokens * self._decode.token_s

    def work(self, timings: Timings) -> float:
        """What a call was, in prompt tokens: an output token counts as many as it takes longer alone.

        Not as it takes beside others: then every call would look like more work the more are in flight, and
        a limit would seem to earn its place by slowing everybody down.
        """
        computed = timings.prompt_tokens - (timings.cached_tokens or 0)
        prefill, decode = self._alone
        return max(1.0, computed + timings.output_tokens * decode.token_s / prefill.token_s)

    def learn(self, timings: Timings, kind: Kind, uncached_tokens: int, *, was_alone: bool = True) -> None:
        """A call ended. `uncached_tokens` is what was predicted, used where the engine does not tell."""
        computed = uncached_tokens
        if timings.cached_tokens is not None:
            computed = timings.prompt_tokens - timings.cached_tokens
        self.answers += 1
        self._longest_s = max(KEPT_LONGEST * self._longest_s, timings.prefill_s)
        if computed >= 8 and timings.prefill_s > 0:
            self._prefill.learn(timings.prefill_s, computed)
            if was_alone:
                self._alone[0].learn(timings.prefill_s, computed)
        if timings.output_tokens >= 4 and timings.decode_s > 0:
            token_s = timings.decode_s / timings.output_tokens
            self._decode.learn(timings.decode_s, timings.output_tokens)
            if was_alone:
                self._alone[1].learn(timings.decode_s, timings.output_tokens)
                self.context.learn(timings.prompt_tokens + timings.output_tokens / 2, token_s)
        count, mean = self._kinds.get(kind, (0, 0.0))
        share = max(1.0 / (count + 1), 0.02)
        self._kinds[kind] = (count + 1, mean + share * (timings.output_tokens - mean))


class WaitBias:
    """A factor on predicted waits, by how they compared with those that came true.

    The first wait that is seen replaces the guess, later ones correct it.
    """

    __slots__ = ("_seen", "factor")

    def __init__(self) -> None:
        self.factor = 1.0
        self._seen = 0

    def learn(self, waited_s: float, predicted_s: float) -> None:
        """A call waited so long before which that much work stood."""
        if predicted_s <= LEARN_FROM_S:
            return
        self._seen += 1
        share = max(1.0 / self._seen, 1.0 - KEPT)
        self.factor += share * (min(SLOWEST, max(FASTEST, waited_s / predicted_s)) - self.factor)
