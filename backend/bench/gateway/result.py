"""What one measurement found: the promise, each arm's figures, what was compared, and whether it was kept."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from bench.environment import describe

Floats = npt.NDArray[np.float64]
Figures = Mapping[str, object]
RESAMPLES = 2000
SEED = 7


@dataclass(frozen=True, slots=True)
class Result:
    """`figure` is the promise's name in the design, and `promise` its words.

    `arms` holds what each arm did, `compared` what is made of it: a number, or an estimate with the ends of
    its 95 % interval. `met` is None where nothing was promised, or where the arm to compare with is missing.
    """

    figure: str
    promise: str
    arms: Mapping[str, Figures]
    compared: Figures = field(default_factory=dict)
    met: bool | None = None
    note: str = ""


def document(name: str, result: Result) -> dict[str, object]:
    """One JSON object: the result, and the command and the code that it comes from."""
    machine = describe()
    return {
        "name": name,
        "command": f"python -m bench.gateway {name}",
        "commit": machine.commit[:7] + ("+" if machine.dirty else ""),
        "at": machine.started_at,
        "python": machine.python,
        "cores": machine.cores,
        **asdict(result),
    }


def table(folder: Path) -> str:
    """The results in a folder as a table in Markdown."""
    lines = ["| | promise | what came out | met | `NAME`, commit |", "|---|---|---|---|---|"]
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for each in sorted(found, key=lambda one: (int(str(one["figure"]).lstrip("G") or 0), one["name"])):
        met = {True: "yes", False: "**no**", None: "-"}[each["met"]]
        said = "; ".join(f"{key} {_shown(value)}" for key, value in each["compared"].items())
        said += f". {each['note']}" if each["note"] else ""
        where = f"`{each['name']}`, {each['commit']}"
        lines.append(f"| {each['figure']} | {each['promise']} | {said} | {met} | {where} |")
    return "\n".join(lines)


def percentile(values: list[float], q: float) -> float:
    """Of a sample; nan of none."""
    return float(np.percentile(values, q)) if values else float("nan")


def difference(one: list[float], other: list[float], q: float) -> list[float]:
    """How much larger a percentile is in `one`, whose values were taken in turn with those of `other`."""
    return _interval(partial(_less, q=q), one, other, paired=True)


def ratio(one: list[float], other: list[float]) -> list[float]:
    """How many times larger the mean of `one` is."""
    return _interval(_times, one, other, paired=False)


def _less(one: Floats, other: Floats, axis: int = -1, *, q: float) -> Floats:
    return np.asarray(np.percentile(one, q, axis=axis) - np.percentile(other, q, axis=axis))


def _times(one: Floats, other: Floats, axis: int = -1) -> Floats:
    return np.asarray(np.mean(one, axis=axis) / np.mean(other, axis=axis))


def _interval(
    statistic: Callable[..., Floats], one: list[float], other: list[float], *, paired: bool
) -> list[float]:
    """The estimate and a 95 % interval by the percentiles of a bootstrap; of one value there is none."""
    a, b = np.asarray(one), np.asarray(other)
    if min(len(a), len(b)) < 2:
        return [round(float(statistic(a, b)), 3), float("nan"), float("nan")]
    made = bootstrap(
        (a, b),
        statistic,
        paired=paired,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return [round(float(each), 3) for each in (statistic(a, b), made.low, made.high)]


def _shown(value: object) -> str:
    if isinstance(value, list) and len(value) == 3:
        return f"{value[0]:g} ({value[1]:g} to {value[2]:g})"
    return f"{value:g}" if isinstance(value, float) else str(value)
