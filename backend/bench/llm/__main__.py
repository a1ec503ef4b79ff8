"""The command line: `python -m bench.llm WHAT`, one subcommand a question; `--help` lists them.

Results as a table, and with `--out` as JSON and a picture. Blocks are short: one command takes minutes.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import environment
from bench.charts import sheet
from bench.experiments import standard_workloads
from bench.llm.arms import ABLATION, LIMITS, V2, V2_REFUSES, V2_SHARES, Levers
from bench.llm.comparison import Compared, Size, compare_at
from bench.llm.costs import costs
from bench.llm.crowd import freed, held
from bench.llm.grid import grid, save
from bench.llm.overhead import overhead
from bench.llm.real_ollama import everything
from bench.llm.stage import Kitchen
from bench.llm.two_engines import two_engines
from bench.samples import Outcome, Results, to_document, write
from bench.statistics import P50, Comparison, Quantile, compare, decide, interval

P95 = Quantile(0.95)
ARMS: dict[str, tuple[Levers, ...]] = {
    "load": (V2,),
    "shares": (V2, V2_SHARES),
    "overload": (V2, V2_REFUSES),
    "ablation": ABLATION,
    "limits": LIMITS,
}
TTFT_SLO_S = 1.0
TOTAL_SLO_S = 2.5


def rows_of(found: Compared, control_arm: str = "v1") -> list[dict[str, Any]]:
    """One row per arm, level, metric and quantile, with the ratio to `control_arm` and its verdict."""
    results = Results({}, {}, blocks=found.blocks)
    rows = []
    for experiment, level in sorted({(b.experiment, b.level) for b in found.blocks}):
        control = results.select(experiment, control_arm, level)
        for arm in sorted({b.arm for b in found.blocks}):
            mine = results.select(experiment, arm, level)
            compared: list[tuple[dict[str, Any], Comparison]] = []
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
                    if arm != control_arm:
                        ratio = compare([b.latencies(metric) for b in control], ours, quantile, seed=1)
                        row |= {"ratio": ratio.ratio, "ratio_low": ratio.low, "ratio_high": ratio.high}
                        compared.append((row, ratio))
                    rows.append(row)
            # The four claims of an arm at a level are one family.
            for (row, _), verdict in zip(compared, decide([ratio for _, ratio in compared]), strict=True):
                row["verdict"] = verdict.value
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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def report(
    found: Compared, rows: list[dict[str, Any]], configuration: dict[str, Any], out: Path | None
) -> None:
    """The table; with `out` the document and its picture."""
    print(table(found, rows))
    results = Results(
        environment=asdict(environment.describe(found.ground)),
        configuration={**configuration, "capacity_per_s": found.capacity_per_s, "limits": found.limits},
        blocks=found.blocks,
        complete=True,
    )
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(to_document(results, summary=rows), out)
        claims = [{**r, "low": r.get("ratio_low"), "high": r.get("ratio_high")} for r in rows if "ratio" in r]
        sheet(results, claims, out.with_suffix(".png"))


async def run(arguments: argparse.Namespace) -> None:
    """One subcommand."""
    if arguments.what == "overhead":
        print(await overhead(arguments.calls))
        return
    if arguments.what == "ollama":
        shown = json.dumps(await everything(arguments.requests, _say), indent=1)
        print(shown)
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(shown)
        return
    kitchen = Kitchen(
        arguments.engine, arguments.slots[0], prompt_cache_mib=arguments.cache_mib, light=arguments.light
    )
    if arguments.what == "costs":
        for cost in await costs(kitchen):
            print(cost)
        return
    if arguments.what == "crowd":
        print(await held())
        for one in await freed(kitchen):
            print(one)
        return
    size = Size(arguments.rounds, arguments.block_s)
    if arguments.what == "residency":
        talks = arguments.conversations
        cells = await grid(kitchen, arguments.slots, talks, turns=arguments.turns, size=size, say=_say)
        if arguments.out:
            save(cells, kitchen, arguments.out)
        return
    configuration = {"kitchen": asdict(kitchen), "size": asdict(size)}
    if arguments.what == "engines":
        found = await two_engines(kitchen, size, _say, rate_per_s=arguments.rate)
        report(found, rows_of(found, "round_robin"), configuration, arguments.out)
        return
    found = await compare_at(
        arguments.workload,
        arguments.levels,
        ARMS[arguments.what],
        kitchen,
        size=size,
        say=_say,
        rate_per_s=arguments.rate,
    )
    report(found, rows_of(found), configuration, arguments.out)


def parser() -> argparse.ArgumentParser:
    """One subcommand a question; they share how the engines are cut and how long it takes."""
    cut = argparse.ArgumentParser(add_help=False)
    cut.add_argument("--engine", choices=["synthetic", "smollm2", "ollama"], default="synthetic")
    cut.add_argument("--light", action="store_true", help="random weights in Ollama too")
    cut.add_argument("--slots", type=int, nargs="+", default=[4])
    cut.add_argument("--cache-mib", type=int, default=256, help="llama.cpp's RAM cache; 0: none")
    cut.add_argument("--rounds", type=int, default=5)
    cut.add_argument("--block-s", type=float, default=6.0)
    cut.add_argument("--out", type=Path, default=None)
    root = argparse.ArgumentParser(prog="python -m bench.llm", description=__doc__)
    what = root.add_subparsers(dest="what", required=True)
    for name, arms in ARMS.items():
        one = what.add_parser(name, parents=[cut], help=", ".join(("v1", *(arm.name for arm in arms))))
        one.add_argument("--workload", choices=sorted(standard_workloads()), default="returning_users")
        one.add_argument("--levels", type=float, nargs="+", default=[1.3 if name == "overload" else 0.9])
        one.add_argument("--rate", type=float, default=None, help="V1's capacity from an earlier run")
    two = what.add_parser("engines", parents=[cut], help="two engines, three ways to choose")
    two.add_argument("--rate", type=float, default=4.0, help="requests a second")
    residency = what.add_parser("residency", parents=[cut], help="the grid of slots and conversations")
    residency.add_argument("--conversations", type=int, nargs="+", default=[1, 3, 6])
    residency.add_argument("--turns", type=int, default=8)
    what.add_parser("costs", parents=[cut], help="what a prompt costs llama.cpp")
    what.add_parser("crowd", parents=[cut], help="a thousand waiting, two hundred streams")
    real = what.add_parser("ollama", help="real Ollama: reloads, slots found, second turns")
    real.add_argument("--requests", type=int, default=1000)
    real.add_argument("--out", type=Path, default=None)
    what.add_parser("overhead", help="what the dispatcher adds").add_argument(
        "--calls", type=int, default=5000
    )
    return root


def main() -> None:
    """Parse and run."""
    asyncio.run(run(parser().parse_args()))


if __name__ == "__main__":
    main()
