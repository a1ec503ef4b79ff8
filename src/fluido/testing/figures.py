"""What a finished run amounts to: the figures that scenario lines name."""

import math
from collections.abc import Sequence

from fluido.testing.curve import best_static
from fluido.testing.scenario import JobClass, Phase, Scenario
from fluido.testing.simulation import LOCK_INDEX
from fluido.testing.trace import BIN_S, Bin, Trace

SETTLED_BINS = 8  # four seconds
LONGEST_LOCK = 100.0
STEADY_BINS = 60  # half a minute
NEAR = 0.25

Figures = dict[str, float]


class Span:
    """One measured phase of a run, and what the best static limit would give in it."""

    def __init__(self, scenario: Scenario, trace: Trace, index: int, duration_s: float) -> None:
        phase = in_force(scenario, index)
        ends_s = [later.at_s for later in scenario.phases[index + 1 :]] + [duration_s]
        first = round(scenario.phases[index].at_s / BIN_S)
        last = min(round(ends_s[0] / BIN_S), len(trace.limits))
        self.bins: Sequence[Bin] = trace.bins[first:last]
        self.limits = trace.limits[first:last]
        self.tail = len(self.bins) * 2 // 5  # the last 60 % count
        ceiling = sum(int(group.ceiling) * group.count for group in scenario.groups if not group.foreign)
        work, delay_s = means(scenario.classes, phase.delay_s or 0.0)
        factor = phase.factor if phase.factor is not None else 1.0
        curve = phase.curve
        if curve is None or factor <= 0:
            raise ValueError("a measured phase needs a curve and progress")
        # Work w at rate X is X/w jobs a second: the same as a delay of delay/w beside the curve, scaled.
        scale = factor / work
        self.best_limit, rate, latency_s = best_static(curve, delay_s * scale, min(ceiling, 1000))
        self.best_rate = rate * scale
        self.best_latency_s = latency_s / scale

    @property
    def rate(self) -> float:
        """Calls a second over the tail, ours and foreign."""
        tail = self.bins[self.tail :]
        return sum(bin_.completed + bin_.foreign for bin_ in tail) / (len(tail) * BIN_S)

    @property
    def latency_s(self) -> float:
        """Mean service time over the tail."""
        tail = self.bins[self.tail :]
        return sum(bin_.service_s for bin_ in tail) / max(1, sum(bin_.completed for bin_ in tail))

    def settle_s(self) -> float:
        """From when on four seconds have 90 % of the best throughput; the length of the phase for never."""
        rates = [bin_.completed / BIN_S for bin_ in self.bins]
        for index in range(len(rates) - SETTLED_BINS + 1):
            if sum(rates[index : index + SETTLED_BINS]) / SETTLED_BINS >= 0.9 * self.best_rate:
                return index * BIN_S
        return len(rates) * BIN_S

    @property
    def totals(self) -> list[float]:
        """The limits of all replicas together, by bin."""
        return [sum(limits) for limits in self.limits]

    def limit_settle_s(self) -> float:
        """From when on the mean limit of 30 s is within a quarter of the best one; else the whole phase."""
        totals = self.totals
        for index in range(len(totals) - STEADY_BINS + 1):
            if abs(_mean(totals[index : index + STEADY_BINS]) / self.best_limit - 1) <= NEAR:
                return index * BIN_S
        return len(totals) * BIN_S


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def in_force(scenario: Scenario, index: int) -> Phase:
    """The phase with what earlier ones set and it did not."""
    merged = scenario.phases[0]
    for phase in scenario.phases[1 : index + 1]:
        merged = Phase(
            at_s=phase.at_s,
            curve=phase.curve or merged.curve,
            delay_s=merged.delay_s if phase.delay_s is None else phase.delay_s,
            factor=merged.factor if phase.factor is None else phase.factor,
        )
    return merged


def means(classes: Sequence[JobClass], delay_s: float) -> tuple[float, float]:
    """Mean work of a call, and its mean time outside the server (the way back, and locks)."""
    total = sum(job.share for job in classes)
    work = sum(job.share * job.work for job in classes) / total
    # Mean of a Pareto time of index a, cut off at 100 times its least: 1 + (1 - 100^(1-a)) / (a - 1).
    cut = 1 + (1 - LONGEST_LOCK ** (1 - LOCK_INDEX)) / (LOCK_INDEX - 1)
    lock_s = sum(job.share * job.lock_share * job.lock_s * cut for job in classes) / total
    return work, delay_s + lock_s


def jain(counts: Sequence[float]) -> float:
    """Fairness: 1 when all are equal, 1/n when one has everything."""
    square = sum(count * count for count in counts)
    return sum(counts) ** 2 / (len(counts) * square) if square else 0.0


def fair_shares(demands: Sequence[float], total: float) -> list[float]:
    """`total` parted so that who asks for little gets it, and the others as much as each other (max-min)."""
    shares = [0.0] * len(demands)
    order = sorted(range(len(demands)), key=demands.__getitem__)
    for place, at in enumerate(order):
        shares[at] = min(demands[at], total / (len(order) - place))
        total -= shares[at]
    return shares


def _fairness(scenario: Scenario, trace: Trace) -> float:
    half = len(trace.limits) // 2
    done = [sum(counts[half:]) for counts in trace.by_replica]
    groups = [group for group in scenario.groups if not group.foreign]
    if len(groups) > 1 or not groups[0].rate:
        return jain(done)  # closed loads ask for more than there is
    asked = [groups[0].rate_of(at) * (len(trace.limits) - half) * BIN_S for at in range(groups[0].count)]
    return jain([mine / share for mine, share in zip(done, fair_shares(asked, sum(done)), strict=True)])


def figures(scenario: Scenario, trace: Trace, duration_s: float, other: Trace | None) -> Figures:
    """Every figure that this run has; the worst phase counts."""
    spans = [
        Span(scenario, trace, index, duration_s)
        for index, phase in enumerate(scenario.phases)
        if phase.measure and phase.at_s < duration_s
    ]
    found: Figures = {}
    if spans:
        found["throughput"] = min(span.rate / span.best_rate for span in spans)
        found["latency"] = max(span.latency_s / span.best_latency_s for span in spans)
        found["settle_s"] = max(span.settle_s() for span in spans)
        found |= _limits([sum(limits) for limits in spans[-1].limits[spans[-1].tail :]])
        for number, span in enumerate(spans, 1):
            found[f"throughput_{number}"] = span.rate / span.best_rate
            found[f"limit_off_{number}"] = abs(_mean(span.totals[span.tail :]) / span.best_limit - 1)
            found[f"limit_settle_s_{number}"] = span.limit_settle_s()
    if len(trace.by_replica) > 1:
        found["fairness"] = _fairness(scenario, trace)
    found["limit_kept"] = _kept(scenario, trace)
    if other is not None:
        found |= _compared(trace, other)
        restarts_s = [phase.at_s for phase in scenario.phases if phase.restart and phase.at_s < duration_s]
        if restarts_s:
            found["restart_ratio"] = min(
                _first(trace, at_s) / max(1, _first(other, at_s)) for at_s in restarts_s
            )
    return found


def _limits(limits: Sequence[float]) -> Figures:
    mean = sum(limits) / len(limits)
    centre_s = (len(limits) - 1) / 2
    spread = sum((limit - mean) ** 2 for limit in limits) / len(limits)
    slope = sum((index - centre_s) * (limit - mean) for index, limit in enumerate(limits))
    square = sum((index - centre_s) ** 2 for index in range(len(limits))) or 1.0
    drift = abs(slope / square / mean) * 60 / BIN_S
    return {"wobble": math.sqrt(spread) / mean, "drift_per_min": drift, "limit": mean}


def _kept(scenario: Scenario, trace: Trace) -> float:
    """Largest change of the limit since its first two seconds, over the phases not measured (idle)."""
    worst = 0.0
    for index, phase in enumerate(scenario.phases):
        if phase.measure or phase.at_s <= 0:
            continue
        later = scenario.phases[index + 1].at_s if index + 1 < len(scenario.phases) else math.inf
        first, last = round(phase.at_s / BIN_S), round(min(later / BIN_S, len(trace.limits)))
        window = [sum(limits) for limits in trace.limits[first + 4 : last]]
        if window:
            worst = max(worst, abs(sum(window) / len(window) / window[0] - 1))
    return worst


def _compared(trace: Trace, other: Trace) -> Figures:
    def total_s(run: Trace) -> float:
        return sum(b.total_s for b in run.bins) / max(1, sum(b.completed for b in run.bins))

    found = {
        "total_ratio": total_s(trace) / total_s(other),
        "same_schedule": float(trace.schedule == other.schedule),
        "p99_ratio": trace.totals[-1].quantile(0.99) / max(1e-9, other.totals[-1].quantile(0.99)),
        "goodput_ratio": sum(b.completed for b in trace.bins) / max(1, sum(b.completed for b in other.bins)),
    }
    found["first_ratio"] = _first(trace, 0.0) / max(1, _first(other, 0.0))
    mine, theirs = (_mean_limit(run) for run in (trace, other))
    found["attributable"] = abs(mine / theirs - 1)
    return found


def _first(trace: Trace, at_s: float) -> int:
    """Calls done in the first ten seconds from `at_s` on."""
    return sum(bin_.completed for bin_ in trace.bins[round(at_s / BIN_S) : round((at_s + 10) / BIN_S)])


def _mean_limit(run: Trace) -> float:
    tail = run.limits[len(run.limits) // 3 :]
    return sum(map(sum, tail)) / len(tail)
