"""What a scenario file says: a server, its load, what happens to it, and the lines a law must pass."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluido.testing.curve import Curve
from fluido.testing.slots import EngineSlots


@dataclass(frozen=True, slots=True)
class JobClass:
    """A kind of call. `work` in mean jobs; `sigma` > 0 makes it lognormal, 0 exponential, < 0 constant.

    With probability `lock_share` a call also waits for a lock: a Pareto time of at least `lock_s`, index 1.5.
    """

    label: str = "get"
    share: float = 1.0
    work: float = 1.0
    sigma: float = 0.0
    lock_share: float = 0.0
    lock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Phase:
    """From `at_s` on: what is set replaces what was in force. `slots` stands for a curve: an LLM engine.

    `burst` calls arrive at once when the phase begins. `shares` replaces the shares of the classes, in their
    order. With `restart` the process begins anew: its law is built again, and offered what it remembered.
    """

    at_s: float
    curve: Curve | None = None
    slots: EngineSlots | None = None
    delay_s: float | None = None
    factor: float | None = None
    rate: float | None = None
    clients: int | None = None
    poison_work: float = 0.0
    burst: int = 0
    shares: tuple[float, ...] = ()
    restart: bool = False
    measure: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """`count` replicas alike. `law` is empty for the law under test, "fixed:24", or "module:Class".

    Closed load: `clients` tasks that call again at once. Open load: `rate` calls a second (Poisson), times
    `burst` during `burst_s` of every `period_s`. `starts` are the initial limits, in turn over
    replicas and seeds; `skews_s`, in turn over seeds, spread the clocks evenly over +- that much. `foreign`
    load is not ours: it is never measured. `own_key` and `own_slot` break the synchronisation of replicas on
    purpose. `clients_spread` 0.8 gives them between 20 and 180 % of `clients` and of `rate`; with `stagger_s`
    the clients of each come that much later than those of the one before.
    """

    count: int = 1
    law: str = ""
    clients: int = 100
    rate: float = 0.0
    burst: float = 1.0
    burst_s: float = 0.0
    period_s: float = 0.0
    starts: tuple[float, ...] = (8.0,)
    floor: float = 2.0
    ceiling: float = 200.0
    skews_s: tuple[float, ...] = (0.0,)
    fleet: bool = False
    foreign: bool = False
    own_key: bool = False
    own_slot: bool = False
    clients_spread: float = 0.0
    stagger_s: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def spread_of(self, index: int) -> float:
        """Where a replica stands among its group: evenly from just above -1 to just below 1."""
        return 2 * (index + 0.5) / self.count - 1

    def rate_of(self, index: int) -> float:
        """Calls a second that arrive at a replica."""
        return self.rate * (1 + self.spread_of(index) * self.clients_spread)


@dataclass(frozen=True, slots=True)
class Line:
    """A figure and the line it must pass. `better` is "more" or "less"; `share` of the seeds must pass.

    Where our own law does not reach the line, `holds` is what it reaches: worse than that is a regression,
    and only that makes the command fail. The table calls the line missed all the same.
    """

    figure: str
    better: str
    line: float
    share: float = 0.5
    holds: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file. `noise` is the sd of a slow lognormal factor on the rate, redrawn about every `noise_s`.

    `timeout_s` ends calls that take longer, and arms the brake; who waited `patience_s` for a permit leaves.
    `short_s` and `short_seeds` replace the full size in the shortened form. `control` names the figure that a
    deliberately broken setting must miss. `compare` asks for a second run: "static" (the best fixed limit),
    "start" (the limit of the start) or "calm" (without poison). With `slots` in its phases nothing stalls,
    waits for locks or times out.
    """

    name: str
    text: str
    duration_s: float
    phases: tuple[Phase, ...]
    groups: tuple[Group, ...]
    classes: tuple[JobClass, ...] = (JobClass(),)
    lines: tuple[Line, ...] = ()
    noise: float = 0.0
    noise_s: float = 0.3
    timeout_s: float = 0.0
    patience_s: float = 0.0
    short_s: float = 0.0
    short_seeds: int = 2
    control: str = ""
    compare: str = ""


def load(path: Path) -> Scenario:
    """Read a scenario file. ValueError or TypeError names what is wrong in it."""
    data = tomllib.loads(path.read_text())
    try:
        return _scenario(path.stem, data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _scenario(name: str, data: dict[str, Any]) -> Scenario:
    phases = tuple(_phase(entry) for entry in data.pop("phase"))
    if not phases or phases[0].at_s != 0 or phases[0].curve is None:
        raise ValueError("the first [[phase]] must start at 0 and have a curve")
    classes = tuple(JobClass(**entry) for entry in data.pop("class", [{}]))
    groups = tuple(_group(entry) for entry in data.pop("group", [{}]))
    lines = tuple(Line(**entry) for entry in data.pop("line", []))
    if phases[0].slots and (
        data.get("noise")
        or data.get("timeout_s")
        or any(job.lock_share for job in classes)
        or any(phase.slots is None or phase.factor is not None or phase.delay_s for phase in phases)
    ):
        raise ValueError(
            "an engine with slots has slots in every phase, and no noise, delay, locks or timeouts"
        )
    if not phases[0].slots and any(phase.slots for phase in phases):
        raise ValueError("an engine with slots has them from the first phase on")
    return Scenario(name=name, phases=phases, classes=classes, groups=groups, lines=lines, **data)


def _group(entry: dict[str, Any]) -> Group:
    starts = tuple(entry.pop("starts", (8.0,)))
    skews_s = tuple(entry.pop("skews_s", (0.0,)))
    return Group(starts=starts, skews_s=skews_s, **entry)


def _phase(entry: dict[str, Any]) -> Phase:
    points = entry.pop("points", None)
    knee = entry.pop("knee", None)
    slots = EngineSlots(**entry.pop("slots")) if "slots" in entry else None
    curve = (
        slots.curve if slots else Curve.through(points) if points else Curve.knee(**knee) if knee else None
    )
    return Phase(curve=curve, slots=slots, shares=tuple(entry.pop("shares", ())), **entry)
