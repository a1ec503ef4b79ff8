"""Runs a scenario: replicas with the production Limiter, one simulated server, discrete events, one seed."""

import heapq
import math
import random
from collections import deque

from fluido._metrics import Histogram
from fluido._sample import Outcome, Sample
from fluido.flow._limiter import Limiter
from fluido.laws._base import Law
from fluido.laws._brake import Brake
from fluido.laws._fixed import Fixed
from fluido.testing.factory import LawFactory, fixed_start, named_law
from fluido.testing.scenario import Group, JobClass, Phase, Scenario
from fluido.testing.server import Station
from fluido.testing.slots import SlotStation
from fluido.testing.trace import BIN_S, Bin, Trace

TICK_S = 0.25
LOCK_INDEX = 1.5

OWN_SLOTS_S = (0.25, 0.35, 0.5, 0.7)


class Call:
    """One call on its way: waiting, in the server, or on the way back."""

    __slots__ = (
        "arrived_s",
        "dead",
        "group",
        "inflight",
        "label",
        "limit",
        "lock_s",
        "once",
        "replica",
        "started_s",
        "work",
    )

    def __init__(self, replica: "Replica", label: str, work: float, lock_s: float, arrived_s: float) -> None:
        self.replica = replica
        self.label = label
        self.work = work
        self.lock_s = lock_s
        self.arrived_s = arrived_s
        self.started_s = 0.0
        self.inflight = 0
        self.limit = 0.0
        self.dead = False
        self.once = False  # of a burst: nobody asks again after it


class Replica:
    """One process: its limiter (the production class), its queue, its skewed clock."""

    def __init__(self, group: Group, law: Law, skew_s: float, brake: bool) -> None:
        self.group = group
        self.skew_s = skew_s
        self.joins_s = 0.0
        self.clients = group.clients
        self.rate = group.rate
        self.away = 0  # clients that left because a phase has fewer
        self.queue: deque[Call] = deque()
        self.begin(law, brake=brake)

    def begin(self, law: Law, *, brake: bool) -> None:
        """Be a fresh process with this law."""
        self.limiter = Limiter(
            law, name="sim", max_waiting=0, clock=lambda: 0.0, brake=Brake() if brake else None
        )


class Simulation:
    """One run. Everything random comes from `seed`; the law under test is built once per replica."""

    def __init__(self, scenario: Scenario, make_law: LawFactory, seed: int) -> None:
        self.scenario = scenario
        self.seed = seed
        self._make_law = make_law
        self.random = random.Random(seed)  # noqa: S311  (a simulation wants repeatable numbers)
        self.now_s = 0.0
        first = scenario.phases[0]
        self.slots = None if first.slots is None else SlotStation[Call](first.slots)
        self.station: Station[Call] = self.slots or Station(first.curve)  # type: ignore[arg-type]  # the loader checks
        self.delay_s = 0.0
        self.events: list[tuple[float, int, str, object]] = []
        self.serial = 0
        self.trace = Trace()
        self.phase = 0
        self.base_factor = 1.0
        self.noise = 1.0
        self.replicas: list[Replica] = []
        for group in scenario.groups:
            for index in range(group.count):
                self._add_replica(group, index, make_law, seed)
        self.tested = [replica for replica in self.replicas if not replica.group.foreign]
        self.trace.by_replica = [[] for _ in self.tested]
        self._counts = [0] * len(self.tested)
        self._position = {id(replica): index for index, replica in enumerate(self.tested)}
        self._shares = [job.share for job in scenario.classes]

    def _law(self, group: Group, index: int, make_law: LawFactory, **remembered: object) -> Law:
        start = group.starts[(index + self.seed) % len(group.starts)]
        if group.law.startswith("fixed:"):
            return Fixed(float(group.law.removeprefix("fixed:")))
        factory = named_law(group.law) if group.law else make_law
        if factory is fixed_start:
            return factory(start=start, floor=group.floor, ceiling=group.ceiling)
        options: dict[str, object] = {**group.options, **remembered}
        if group.fleet:
            options["key"] = f"replica {index}" if group.own_key else "server"
            if group.own_slot:
                options["slot_s"] = OWN_SLOTS_S[index % len(OWN_SLOTS_S)]
        return factory(start=start, floor=group.floor, ceiling=group.ceiling, **options)

    def _add_replica(self, group: Group, index: int, make_law: LawFactory, seed: int) -> None:
        law = self._law(group, index, make_law)
        spread = group.spread_of(index)
        skew_s = spread * group.skews_s[seed % len(group.skews_s)]
        replica = Replica(group, law, skew_s, self.scenario.timeout_s > 0)
        replica.joins_s = index * group.stagger_s
        replica.clients = round(group.clients * (1 + spread * group.clients_spread))
        replica.rate = group.rate_of(index)
        self.replicas.append(replica)

    # -- the loop --

    def run(self, duration_s: float | None = None) -> Trace:
        """Play the scenario to its end."""
        end_s = duration_s or self.scenario.duration_s
        for index, phase in enumerate(self.scenario.phases):
            self._at(phase.at_s, "phase", index)
        self._at(BIN_S, "bin", None)
        self._at(TICK_S, "tick", None)
        if self.scenario.noise:
            self._at(0.0, "noise", None)
        events, station = self.events, self.station
        while True:
            ends_s = station.next_end_s()
            if events and events[0][0] <= ends_s:
                self.now_s, _, kind, what = heapq.heappop(events)
                if self.now_s >= end_s:
                    break
                if kind == "back":
                    self._complete(what)  # type: ignore[arg-type]
                else:
                    getattr(self, f"_on_{kind}")(what)
            elif ends_s < end_s:
                self.now_s = ends_s
                call = station.leave(ends_s)
                wait_s = self.delay_s + call.lock_s
                if call.dead:
                    continue
                if wait_s > 0:
                    self._at(ends_s + wait_s, "back", call)
                else:
                    self._complete(call)
            else:
                break
        return self.trace

    def _at(self, at_s: float, kind: str, what: object) -> None:
        self.serial += 1
        heapq.heappush(self.events, (at_s, self.serial, kind, what))

    # -- calls --

    def _new_call(self, replica: Replica, arrived_s: float) -> Call:
        classes = self.scenario.classes
        job = classes[0] if len(classes) == 1 else self.random.choices(classes, self._shares)[0]
        return Call(replica, job.label, self._work(job), self._lock(job), arrived_s)

    def _work(self, job: JobClass) -> float:
        if job.sigma > 0:
            return job.work * self.random.lognormvariate(-(job.sigma**2) / 2, job.sigma)
        return job.work * self.random.expovariate(1.0) if job.sigma == 0 else job.work

    def _lock(self, job: JobClass) -> float:
        if job.lock_share <= 0 or self.random.random() >= job.lock_share:
            return 0.0
        return min(100 * job.lock_s, job.lock_s * self.random.paretovariate(LOCK_INDEX))

    def _arrive(self, call: Call) -> None:
        if call.replica.queue or not call.replica.limiter.gate.try_acquire():
            call.replica.queue.append(call)
        else:
            self._start(call)

    def _start(self, call: Call) -> None:
        gate = call.replica.limiter.gate
        call.started_s = self.now_s
        call.inflight = gate.inflight
        call.limit = gate.limit
        self.station.enter(self.now_s, call, call.work)
        if self.scenario.timeout_s:
            self._at(self.now_s + self.scenario.timeout_s, "timeout", call)

    def _complete(self, call: Call, outcome: Outcome = Outcome.OK) -> None:
        if call.dead:
            return
        call.dead = True
        replica = call.replica
        self._learn(call, outcome)
        replica.limiter.gate.release()
        self._count(call, outcome)
        if replica.group.rate <= 0 and not call.once:
            if replica.away > 0:
                replica.away -= 1
            else:
                replica.queue.append(self._new_call(replica, self.now_s))
        self._admit(replica)

    def _learn(self, call: Call, outcome: Outcome) -> None:
        skew_s = call.replica.skew_s
        call.replica.limiter.learn(
            Sample(
                call.label,
                call.started_s + skew_s,
                self.now_s + skew_s,
                call.started_s - call.arrived_s,
                call.inflight,
                call.limit,
                outcome,
            )
        )

    def _admit(self, replica: Replica) -> None:
        gate = replica.limiter.gate
        patience_s = self.scenario.patience_s
        while replica.queue:
            if patience_s and self.now_s - replica.queue[0].arrived_s > patience_s:
                replica.queue.popleft()
                self._bin().gave_up += 1
            elif gate.try_acquire():
                self._start(replica.queue.popleft())
            else:
                return

    def _count(self, call: Call, outcome: Outcome) -> None:
        trace = self.trace
        trace.calls += 1
        trace.schedule = hash((trace.schedule, call.started_s, self.now_s))
        bin_ = self._bin()
        position = self._position.get(id(call.replica))
        if position is None:
            bin_.foreign += 1
        elif outcome is Outcome.OK:
            self._counts[position] += 1
            bin_.completed += 1
            bin_.service_s += self.now_s - call.started_s
            bin_.total_s += self.now_s - call.arrived_s
            trace.totals[self.phase].record(self.now_s - call.arrived_s)
            trace.finished[self.phase] += 1
        else:
            bin_.failed += 1

    def _bin(self) -> Bin:
        if not self.trace.bins:
            self.trace.bins.append(Bin())
        return self.trace.bins[-1]

    # -- events --

    def _on_bin(self, _: object) -> None:
        limits = tuple(replica.limiter.gate.limit for replica in self.tested)
        self._bin().limit = sum(limits)
        self.trace.limits.append(limits)
        self.trace.bins.append(Bin())
        for position, count in enumerate(self._counts):
            self.trace.by_replica[position].append(count)
        self._counts = [0] * len(self.tested)
        self._at(self.now_s + BIN_S, "bin", None)

    def _on_tick(self, _: object) -> None:
        for replica in self.replicas:
            replica.limiter.learn_time(self.now_s + replica.skew_s)
            self._admit(replica)
        self._at(self.now_s + TICK_S, "tick", None)

    def _on_noise(self, _: object) -> None:
        sigma = self.scenario.noise
        self.noise = self.random.lognormvariate(-sigma * sigma / 2, sigma)
        self._set_factor()
        self._at(self.now_s + self.random.expovariate(1 / self.scenario.noise_s), "noise", None)

    def _set_factor(self) -> None:
        self.station.advance(self.now_s)
        self.station.factor = self.base_factor * self.noise

    def _on_timeout(self, call: object) -> None:
        if isinstance(call, Call) and not call.dead:
            self._complete(call, Outcome.OVERLOAD)

    def _on_phase(self, index: object) -> None:
        assert isinstance(index, int)  # noqa: S101  (narrows the type; the loop pushed it)
        phase = self.scenario.phases[index]
        self.phase = index
        self.trace.totals.append(Histogram())
        self.trace.finished.append(0)
        self.station.advance(self.now_s)
        if self.slots is not None and phase.slots is not None:
            self.slots.resize(self.now_s, phase.slots)
        elif phase.curve is not None:
            self.station.curve = phase.curve
        if phase.delay_s is not None:
            self.delay_s = phase.delay_s
        if phase.factor is not None:
            self.base_factor = phase.factor
            self._set_factor()
        if phase.shares:
            self._shares = list(phase.shares)
        if phase.restart:
            self._restart()
        for _ in range(phase.burst):
            call = self._new_call(self.tested[0], self.now_s)
            call.once = True
            self._arrive(call)
        if phase.poison_work:
            replica = self.tested[0]
            call = Call(replica, "poison", phase.poison_work, 0.0, self.now_s)
            replica.queue.appendleft(call)
        for replica in self.replicas:
            self._load(replica, phase, first=index == 0)

    def _restart(self) -> None:
        """The tested processes begin anew; what is inside ends under the new law."""
        for index, replica in enumerate(self.tested):
            memory = getattr(replica.limiter.law, "memory", None)
            remembered = {"remembered": memory()} if memory else {}
            law = self._law(replica.group, index, self._make_law, **remembered)
            inside = replica.limiter.gate.inflight
            replica.begin(law, brake=self.scenario.timeout_s > 0)
            replica.limiter.gate.inflight = inside

    def _load(self, replica: Replica, phase: Phase, *, first: bool) -> None:
        group = replica.group
        if group.rate > 0:
            if first:
                self._at(self.now_s, "arrival", replica)
            return
        if first and replica.joins_s > 0:
            self._at(replica.joins_s, "join", replica)
            return
        wanted = replica.clients if phase.clients is None or group.foreign else phase.clients
        added = replica.clients if first else 0
        if phase.clients is not None and not group.foreign:
            added = wanted - (0 if first else replica.clients)
            replica.clients = wanted
        replica.away += max(0, -added)
        for _ in range(max(0, added)):
            self._arrive(self._new_call(replica, self.now_s))

    def _on_join(self, what: object) -> None:
        assert isinstance(what, Replica)  # noqa: S101  (narrows the type; the loop pushed it)
        for _ in range(what.clients):
            self._arrive(self._new_call(what, self.now_s))

    def _on_arrival(self, what: object) -> None:
        assert isinstance(what, Replica)  # noqa: S101  (narrows the type; the loop pushed it)
        group = what.group
        rate = self.scenario.phases[self.phase].rate or what.rate
        if self.now_s > 0:
            self._arrive(self._new_call(what, self.now_s))
        if group.period_s and math.fmod(self.now_s, group.period_s) < group.burst_s:
            rate *= group.burst
        self._at(self.now_s + self.random.expovariate(rate), "arrival", what)
