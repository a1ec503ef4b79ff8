"""The result as tables on a terminal: ratios with intervals, failures beside every latency."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.claims import CUSTOMER, attainment

_SIDES = ("control", "treatment")
_WORDS = {"better": "better", "worse": "WORSE", "undecided": "undecided"}


def show(document: Mapping[str, Any], console: Console) -> None:
    """Everything a reader needs, in the order of interest."""
    rows: Sequence[Mapping[str, Any]] = document["summary"]
    for experiment, level in dict.fromkeys((row["experiment"], row["level"]) for row in rows):
        mine = [row for row in rows if row["experiment"] == experiment and row["level"] == level]
        for pair in dict.fromkeys((row["control"], row["treatment"]) for row in mine):
            these = [row for row in mine if (row["control"], row["treatment"]) == pair]
            console.print(_experiment(these))
            console.print(_work(these[0]), style="dim", highlight=False)
    console.print(customer(rows))
    console.print(_power(document["power"]), highlight=False)
    for name, slo in document["configuration"].get("slo", {}).items():
        bounds = f"first token within {slo['ttft_s']:.3g} s, last within {slo['total_s']:.3g} s"
        console.print(f"Goodput, {name.replace('_', ' ')}: {bounds}.", highlight=False)
    for note in document["notes"]:
        console.print(f"Note: {note}.", highlight=False)
    machine = document["environment"]
    commit = str(machine.get("commit", ""))[:12] or "unknown"
    state = " with local changes" if machine.get("dirty") else ""
    console.print(
        f"{machine.get('cpu')}, {machine.get('cores')} cores; {machine.get('python')}; "
        f"commit {commit}{state}. "
        "Ratios above 1 are in favour of the arm on the right; latencies count from when a request was due.",
        style="dim",
        highlight=False,
    )


def _power(power: Mapping[str, Any]) -> str:
    """How small an effect the run could have seen; without it, `undecided` says little."""
    if not _is_known(power["median"]):
        return "Power: too few blocks to say how large a difference would have been seen."
    return (
        f"Power: of {power['claims']} headline claims, half would have shown a true ratio of "
        f"{_ratio(power['median'])} four times in five; the least sensitive ({power['largest_claim']}) "
        f"{_ratio(power['largest'])}."
    )


def _experiment(rows: Sequence[Mapping[str, Any]]) -> Table:
    first = rows[0]
    load = f" at {first['level']:.0%} of V1's capacity" if first["control_output_tokens"] else ""
    table = narrow(f"{first['experiment'].replace('_', ' ')}{load}")
    for name in (
        "",
        *(first[side].replace("_", " ") for side in _SIDES),
        "better",
        "95 % int.",
        "verdict",
        "lost",
    ):
        table.add_column(name, justify="left" if name in {"", "verdict"} else "right")
    for row in rows:
        lost = " | ".join(_lost(row[f"{side}_failed"], row[f"{side}_refused"]) for side in _SIDES)
        table.add_row(
            f"{row['measure']} ({row['unit']})" if row["unit"] else row["measure"],
            *(_bounded(row, side) for side in _SIDES),
            (">" if _is_low(row, "treatment") else "") + _ratio(row["ratio"]),
            _range(row["low"], row["high"]),
            _WORDS[row["verdict"]],
            lost,
        )
    return table


def _work(row: Mapping[str, Any]) -> str:
    """What each arm did for an answer: equal output is the condition, prompt length is theirs to choose."""
    asked = " | ".join(str(row[f"{side}_requests"]) for side in _SIDES)
    seen = f"  {asked} requests in {row['blocks']} paired blocks; lost = failed + refused"
    if _is_known(row["detectable"]):
        seen += f"; a difference of {_ratio(row['detectable'])} would have been seen"
    if not row["control_output_tokens"]:
        return seen
    sides = (
        f"{row[side]} {row[f'{side}_output_tokens']:.1f} tokens out, {row[f'{side}_prompt_tokens']:.0f} in "
        f"({row[f'{side}_cached_tokens']:.0f} of them known to the engine)"
        for side in _SIDES
    )
    return f"{seen}.\n  Mean of an answer: {'; '.join(sides)}"


def customer(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The customer's table: their figures, the range they hope for, what was measured here at every load."""
    table = narrow("The customer's targets")
    for name in ("", "their V1", "target", "here", "95 % int.", " "):
        table.add_column(name, justify="right" if name.strip() else "left", overflow="fold")
    for target in CUSTOMER:
        asked = (target.experiment, target.measure, "v2")
        found = [row for row in rows if (row["experiment"], row["measure"], row["treatment"]) == asked]
        for row in sorted(found, key=lambda row: float(row.get("level", 1))) or [{}]:
            load = f", {row['level']:.0%}" if row.get("control_output_tokens") else ""
            table.add_row(
                target.title + load,
                f"{target.before_ms:g} ms",
                f"{target.low:g}-{target.high:g}x",
                _ratio(row.get("ratio")),
                _range(row.get("low"), row.get("high")),
                attainment(target, row),
            )
    return table


def narrow(title: str) -> Table:
    """For a terminal of 80 columns: what does not fit goes on in the next line, nothing is cut off."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))


def _bounded(row: Mapping[str, Any], side: str) -> str:
    """A value; `<0.05` where it stands at the smallest one that is told apart."""
    return ("<" if _is_low(row, side) else "") + _value(row[f"{side}_value"])


def _is_low(row: Mapping[str, Any], side: str) -> bool:
    value, floor = row[f"{side}_value"], row.get("floor")
    return _is_known(value) and _is_known(floor) and value <= floor * (1 + 1e-9)


def _lost(failed: int, refused: int) -> str:
    return f"{failed}+{refused}" if failed or refused else "0"


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and not math.isnan(value)


def _value(value: float | None) -> str:
    if not _is_known(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return f"{value:.2f}x" if _is_known(value) else "-"


def _range(low: float | None, high: float | None) -> str:
    return f"{low:.2f}-{high:.2f}" if _is_known(low) and _is_known(high) else "few blocks"
