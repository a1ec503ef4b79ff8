"""The result as tables on a terminal: ratios with intervals, the five claims, the customer's rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.catalogue import DAY, STATIONARY, scene, word
from bench.claims import CUSTOMER, attainment
from bench.course import BINDING
from bench.statistics import MIN_BLOCKS
from bench.summary import Judged, Row, capacities_of, claims_of, rows_of

_WORDS = {"better": "better", "worse": "WORSE"}
_SKIPPED = {*BINDING, 1.0}
"""Single phases of a day are in the file: on a terminal the whole day is enough."""


def show(document: Mapping[str, Any], console: Console) -> None:
    """Everything a reader needs, in the order of interest."""
    rows = rows_of(document)
    for note in document["notes"]:
        console.print(f"Note: {note}.", highlight=False)
    for experiment, level in dict.fromkeys((row.experiment, row.level) for row in rows):
        if experiment == DAY and level in _SKIPPED:
            continue
        mine = [row for row in rows if (row.experiment, row.level) == (experiment, level)]
        console.print(_experiment(mine))
        if experiment not in {DAY, STATIONARY}:
            for pair in dict.fromkeys((row.control, row.treatment) for row in mine):
                these = next(row for row in mine if (row.control, row.treatment) == pair)
                console.print(_work(these), style="dim", highlight=False)
    _capacities(document, console)
    for less in document["shorter"]:
        if less["shorter"]:
            console.print(
                f"{word(less['arm'], short=True)}, {scene(less['experiment'], less['level'])}: "
                f"{less['shorter']} of {less['requests']} requests saw less history than V1's, "
                f"{less['by_a_fifth']} by a fifth.",
                highlight=False,
            )
    if document["faults"]:
        counts = ", ".join(f"{name} {count:.0f}" for name, count in document["faults"].items())
        console.print(f"Faults: {counts}.", highlight=False)
    console.print(five(claims_of(document)))
    console.print(customer(rows))
    for name, slo in document["configuration"].get("slo", {}).items():
        bounds = f"first token within {slo['ttft_s']:.3g} s, last within {slo['total_s']:.3g} s"
        console.print(f"In time, {name.replace('_', ' ')}: {bounds}.", highlight=False)
    machine = document["environment"]
    commit = str(machine.get("commit", ""))[:12] or "unknown"
    state = " with local changes" if machine.get("dirty") else ""
    console.print(
        f"{machine.get('cpu')}, {machine.get('cores')} cores; {machine.get('python')}; "
        f"commit {commit}{state}. "
        "Ratios above 1 are in favour of the second; latencies count from when a person may ask.",
        style="dim",
        highlight=False,
    )


def _experiment(rows: Sequence[Row]) -> Table:
    table = narrow(scene(rows[0].experiment, rows[0].level))
    for name in ("", "", "first", "second", "ratio", "95 % interval", "lost"):
        table.add_column(name, justify="left" if not name else "right")
    for row in rows:
        pair = f"{word(row.control, short=True)} - {word(row.treatment, short=True)}"
        table.add_row(
            pair,
            f"{row.measure} ({row.unit})" if row.unit else row.measure,
            _value(row.control_value),
            _value(row.treatment_value),
            _ratio(row.ratio),
            _range(row),
            f"{row.control_lost} | {row.treatment_lost}" if row.control_lost or row.treatment_lost else "0",
        )
    return table


def _work(row: Row) -> str:
    """Who asked, and what each did for an answer: output is equal, the prompt is theirs to choose."""
    asked = f"{row.control_requests} | {row.treatment_requests} requests"
    people = f" of {row.control_people:.0f} | {row.treatment_people:.0f} people" if row.control_people else ""
    told = f"  {asked}{people}, {row.rounds} rounds"
    if not row.control_output_tokens > 0:
        return told
    sides = (
        f"{word(name, short=True)} {out:.0f} tokens out, {sent:.0f} in ({known:.0f} known to the engine)"
        for name, out, sent, known in (
            (row.control, row.control_output_tokens, row.control_prompt_tokens, row.control_cached_tokens),
            (
                row.treatment,
                row.treatment_output_tokens,
                row.treatment_prompt_tokens,
                row.treatment_cached_tokens,
            ),
        )
    )
    return f"{told}; mean of an answer: {'; '.join(sides)}"


def _capacities(document: Mapping[str, Any], console: Console) -> None:
    for arms in capacities_of(document).values():
        for arm, found in arms.items():
            interval = f" ({found.low:.1f}-{found.high:.1f})" if math.isfinite(found.low) else ""
            served = (
                f"; {found.people:.0f} people in time ({found.share:.0%} of it, {found.people_per_s:.1f}/s)"
                if math.isfinite(found.people)
                else ""
            )
            console.print(
                f"Capacity, {word(arm, short=True)}: {found.estimate:.1f} answers/s{interval}{served}.",
                highlight=False,
            )


def five(claims: Sequence[Judged]) -> Table:
    """The claims that were named before the run; p by Holm over those of them that the plan holds."""
    table = narrow("The five claims")
    for name in ("", "ratio", "95 % interval", "p (Holm)", ""):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for number, claim in enumerate(claims, start=1):
        p = "-" if math.isnan(claim.p_adjusted) else f"{claim.p_adjusted:.3f}"
        verdict = _WORDS.get(claim.verdict, claim.verdict)
        interval = f"{claim.low:.2f}-{claim.high:.2f}" if math.isfinite(claim.low) else "-"
        table.add_row(f"{number} {claim.en}", _ratio(claim.ratio), interval, p, verdict)
    return table


def customer(rows: Sequence[Row]) -> Table:
    """The customer's table: their figures, the range they hope for, what was measured here."""
    table = narrow("The customer's targets")
    for name in ("", "their V1", "target", "here", "95 % interval", " "):
        table.add_column(name, justify="right" if name.strip() else "left", overflow="fold")
    by_identity = {row.identity: row for row in rows}
    for target in CUSTOMER:
        row = by_identity.get(target.identity)
        table.add_row(
            target.en,
            f"{target.before_ms:g} ms",
            f"{target.low:g}-{target.high:g}x",
            _ratio(row.ratio if row else math.nan),
            _range(row) if row else "-",
            attainment(target, row),
        )
    return table


def narrow(title: str) -> Table:
    """For a terminal of 80 columns: what does not fit goes on in the next line, nothing is cut off."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))


def _value(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}x"


def _range(row: Row) -> str:
    if row.rounds < MIN_BLOCKS:
        return "too short"
    return f"{row.low:.2f}-{row.high:.2f}"
