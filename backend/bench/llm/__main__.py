"""The command line: `python -m bench.llm load|ablation|residency`; results as JSON, a table and a picture."""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import environment
from bench.charts import sheet
from bench.llm.arms import ABLATION, V2, V2_REFUSES, V2_SHARES, Levers
from bench.llm.comparison import Cell, Compared, Size, compare_at, residency_cell
from bench.llm.stage import Kitchen
from bench.samples import Outcome, Results, to_document, write
from bench.statistics import P50, Quantile, compare, interval

P95 = Quantile(0.95)
ARMS: dict[str, tuple[Levers, ...]] = {
    "load": (V2,),
    "shares": (V2, V2_SHARES),
    "overload": (V2, V2_REFUSES),
    "ablation": ABLATION,
}
GRID_ARMS = (
    Levers("window", history="window", limit=100, cold_cut=False),
    Levers("append", limit=100, cold_cut=False),
    Levers("v2"),
)
TTFT_SLO_S = 1.0
TOTAL_SLO_S = 2.5


def rows_of(found: Compared) -> list[dict[str, Any]]:
    """One row per arm, level, metric and quantile, with the ratio to V1."""
    results = Results({}, {}, blocks=found.blocks)
    rows = []
    for experiment, level in sorted({(b.experiment, b.level) for b in found.blocks}):
        control = results.select(experiment, "v1", level)
        for arm in sorted({b.arm for b in found.blocks}):
            mine = results.select(experiment, arm, level)
            for metric in ("ttft_s", "total_s"):
                for quantile in (P50, P95):
                    ours = [block.latencies(metric) for block in mine]
                    shown = interval(ours, quantile, seed=1)
                    row: dict[str, Any] = {
                        "name": f"{experiment} {arm} {metric[:-2]} {quantile.name} at {level:.0%}",
                        "experiment": experiment,
                        "arm": arm,
                        "level": level,
                        "metric": metric,
                        "quantile": quantile.name,
                        "estimate": shown.estimate,
                        "low": shown.low,
                        "high": shown.high,
                        "samples": shown.samples,
                        "blocks": shown.blocks,
                    }
                    if arm != "v1":
                        ratio = compare([b.latencies(metric) for b in control], ours, quantile, seed=1)
                        row |= {"ratio": ratio.ratio, "ratio_low": ratio.low, "ratio_high": ratio.high}
                        row["verdict"] = "better" if ratio.low > 1 else "undecided"
                    rows.append(row)
    return rows


def table(found: Compared, rows: Sequence[dict[str, Any]]) -> str:
    """The rows of each arm on one line."""
    results = Results({}, {}, blocks=found.blocks)
    lines = [f"V1's capacity {found.capacity_per_s:.2f}/s; limits at the end {found.limits}"]
    head = "arm              load  TTFT p50/p95   E2E p50/p95   ratio to V1 (TTFT p50 p95, E2E p50 p95)"
    lines.append(head + "   goodput  refused failed  tokens out, cached")
    for experiment, level, arm in sorted({(r["experiment"], r["level"], r["arm"]) for r in rows}):
        mine = {(r["metric"], r["quantile"]): r for r in rows if (r["level"], r["arm"]) == (level, arm)}
        order = [("ttft_s", "p50"), ("ttft_s", "p95"), ("total_s", "p50"), ("total_s", "p95")]
        values = [mine[key]["estimate"] for key in order]
        ratios = [f"{mine[key]['ratio']:.2f}" for key in order if "ratio" in mine[key]]
        blocks = results.select(experiment, arm, level)
        good = statistics.fmean(
            b.goodput_per_s(ttft_slo_s=TTFT_SLO_S, total_slo_s=TOTAL_SLO_S) for b in blocks
        )
        done = [s for b in blocks for s in b.samples if s.outcome is Outcome.ANSWERED]
        out = statistics.fmean(s.output_tokens for s in done)
        cached = sum(s.cached_tokens for s in done) / max(1, sum(s.prompt_tokens for s in done))
        refused, failed = (sum(b.count(o) for b in blocks) for o in (Outcome.REFUSED, Outcome.FAILED))
        lines.append(
            f"{arm:16} {level:4.0%}  {values[0]:5.2f} {values[1]:6.2f}  {values[2]:5.2f} {values[3]:6.2f}   "
            f"{' '.join(ratios):28} {good:6.2f}/s {refused:5d} {failed:5d}  {out:5.1f} {cached:5.0%}"
        )
    return "\n".join(lines)


async def run_arms(arguments: argparse.Namespace, kitchen: Kitchen, size: Size) -> None:
    """`load`, `ablation`, `shares`, `overload`."""
    found = await compare_at(
        arguments.workload,
        arguments.levels,
        ARMS[arguments.what],
        kitchen,
        size=size,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        rate_per_s=arguments.rate,
    )
    rows = rows_of(found)
    print(table(found, rows))
    results = Results(
        environment=asdict(environment.describe(found.ground)),
        configuration={"kitchen": asdict(kitchen), "size": asdict(size), "limits": found.limits},
        blocks=found.blocks,
        complete=True,
    )
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write(to_document(results, summary=rows), arguments.out)
        claims = [{**r, "low": r.get("ratio_low"), "high": r.get("ratio_high")} for r in rows if "ratio" in r]
        sheet(results, claims, arguments.out.with_suffix(".png"))


async def run_residency(arguments: argparse.Namespace, kitchen: Kitchen, size: Size) -> None:
    """The grid of slots and live conversations."""
    cells: list[Cell] = []
    print("slots talks  " + "  ".join(f"{arm.name:>14}" for arm in GRID_ARMS) + "   (E2E p50 / p95 s)")
    for slots in arguments.slots:
        cut = Kitchen(kitchen.engine, slots, kitchen.slot_tokens, kitchen.prompt_cache_mib)
        for talks in arguments.conversations:
            found = await residency_cell(cut, talks, GRID_ARMS, turns=arguments.turns, size=size)
            cells += found
            shown = [f"{_quantile(c.total_s, 0.5):6.2f} /{_quantile(c.total_s, 0.95):6.2f}" for c in found]
            print(f"{slots:5} {talks:5}  " + "  ".join(f"{text:>14}" for text in shown), flush=True)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        picture(cells, arguments.out.with_suffix(".png"))


def _quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else float("nan")


def picture(cells: Sequence[Cell], path: Path) -> None:
    """End to end over live conversations, one panel per number of slots."""
    mpl.use("Agg")
    slots = sorted({cell.slots for cell in cells})
    figure = Figure(figsize=(4 * len(slots), 3.4), layout="constrained")
    for at, count in enumerate(slots, start=1):
        axes = figure.add_subplot(1, len(slots), at)
        for arm, dash in zip(("window", "append", "v2"), (":", "--", "-"), strict=True):
            mine = [c for c in cells if (c.slots, c.arm) == (count, arm)]
            talks = [c.conversations for c in mine]
            axes.plot(talks, [_quantile(c.total_s, 0.5) for c in mine], dash, color="black", label=arm)
            axes.plot(talks, [_quantile(c.total_s, 0.95) for c in mine], dash, color="#999999")
        axes.set(title=f"{count} slots", xlabel="live conversations", ylabel="s end to end: p50, p95 grey")
        axes.set_ylim(bottom=0)
        axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.llm", description=__doc__)
    parser.add_argument("what", choices=[*ARMS, "residency"])
    parser.add_argument("--workload", default="returning_users")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.9])
    parser.add_argument("--engine", choices=["synthetic", "smollm2", "ollama"], default="smollm2")
    parser.add_argument("--slots", type=int, nargs="+", default=[4])
    parser.add_argument("--conversations", type=int, nargs="+", default=[1, 3, 6])
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--cache-mib", type=int, default=0, help="llama.cpp's RAM cache")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--block-s", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=None, help="V1's capacity from an earlier run")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    kitchen = Kitchen(arguments.engine, arguments.slots[0], prompt_cache_mib=arguments.cache_mib)
    size = Size(arguments.rounds, arguments.block_s)
    run = run_residency if arguments.what == "residency" else run_arms
    asyncio.run(run(arguments, kitchen, size))


if __name__ == "__main__":
    main()
