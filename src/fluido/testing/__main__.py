"""`python -m fluido.testing scenarios`: try to break a law in virtual time."""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fluido.testing.day import play_day, table
from fluido.testing.factory import named_law
from fluido.testing.gate_control import NAME as GATE_CONTROL
from fluido.testing.gate_control import gate_verdicts
from fluido.testing.runner import DEFAULT_LAW, FOLDER, SEEDS, Verdict, judge, play_all, scenarios


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fluido.testing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("scenarios", help="play scenarios, print the table, draw the pictures")
    run.add_argument("files", nargs="*", type=Path, help="scenario files (default: ours)")
    run.add_argument("--law", default=DEFAULT_LAW, help="module:Class, called with start, floor and ceiling")
    run.add_argument("--only", nargs="+", default=(), help="names of scenarios")
    run.add_argument("--seeds", type=int, default=SEEDS)
    run.add_argument("--short", action="store_true", help="fewer and shorter: under a minute on 2 cores")
    run.add_argument("--processes", type=int, default=2)
    run.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    run.add_argument("--pictures", type=Path, help="folder for one PNG a scenario (needs fluido[testing])")
    day = commands.add_parser("day", help="play a day that changes against every constant held all day")
    day.add_argument("--law", default=DEFAULT_LAW, help="module:Class, called with start, floor and ceiling")
    day.add_argument("--seeds", type=int, default=SEEDS)
    day.add_argument("--short", action="store_true", help="one seed, shorter phases: some 20 s on 2 cores")
    day.add_argument("--processes", type=int, default=2)
    day.add_argument("--pictures", type=Path, help="folder for day.png (needs fluido[testing])")
    return parser.parse_args(argv)


def row(verdict: Verdict, *, markdown: bool = False) -> str:
    """One line of the table."""
    sign = ">=" if verdict.better == "more" else "<="
    if verdict.control:
        word = "missed, as it must" if verdict.passed else "PASSED, AND MUST NOT"
    else:
        word = "ok" if verdict.passed else f"MISSED by {100 * verdict.miss:.1f} %"
        word += ", as known" if verdict.holds and not verdict.passed else ""
    line = f"{sign} {verdict.line:g} in {100 * verdict.share:.0f} %"
    if markdown:
        return f"| {verdict.scenario} | {verdict.figure} | {verdict.value:.3f} | {line} | {word} |"
    return f"{verdict.scenario:24s} {verdict.figure:16s} {verdict.value:9.3f}   {line:16s} {word}"


def commit() -> str:
    """The commit of these files, with "+" when they were changed since; "unknown" outside git."""
    try:
        git = ["git", "-C", str(FOLDER), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def header(wishes: argparse.Namespace) -> str:
    """What was played, by which law, and the head of the table."""
    if not wishes.markdown:
        return f"{'scenario':24s} {'figure':16s} {'value':>9s}   {'pass line':16s} {wishes.law}"
    size = "shortened" if wishes.short else f"{wishes.seeds} seeds each"
    table = "| scenario | figure | value | pass line | |\n|---|---|---:|---|---|"
    return f"Law `{wishes.law}`, {size}, commit {commit()}.\n\n{table}"


def day(wishes: argparse.Namespace) -> int:
    """Play the day; 1 when a line is missed, 2 for a law that does not exist."""
    try:
        named_law(wishes.law)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    began_s = time.perf_counter()
    played = play_day(wishes.law, seeds=wishes.seeds, short=wishes.short, processes=wishes.processes)
    print(table(played, wishes.law.rpartition(":")[2]))
    print()
    verdicts = played.verdicts()
    for name, (value, met) in verdicts.items():
        print(f"{name:40s} {value:6.3f}   {'ok' if met else 'MISSED'}")
    print(f"{time.perf_counter() - began_s:.0f} s")
    if wishes.pictures:
        from fluido.testing.pictures import draw_day  # noqa: PLC0415  matplotlib is an extra

        draw_day(played, wishes.pictures)
    return 0 if all(met for _, met in verdicts.values()) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every line is passed, or missed by no more than is known, and every negative control misses.

    1 otherwise, 2 for wrong arguments.
    """
    wishes = arguments(argv)
    if wishes.command == "day":
        return day(wishes)
    try:
        named_law(wishes.law)
        wanted = scenarios(wishes.files)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if wishes.only:
        wanted = [scenario for scenario in wanted if scenario.name in wishes.only]
    gates = not wishes.files and (not wishes.only or GATE_CONTROL in wishes.only)
    if not (wanted or gates) or wishes.seeds < 1 or wishes.processes < 1:
        print("nothing to play", file=sys.stderr)
        return 2
    began_s = time.perf_counter()
    print(header(wishes))
    missed = worse = 0
    for verdict in gate_verdicts() if gates else ():
        missed += not verdict.passed
        worse += not verdict.holds
        print(row(verdict, markdown=wishes.markdown), flush=True)
    for runs in play_all(
        wanted, wishes.law, seeds=wishes.seeds, short=wishes.short, processes=wishes.processes
    ):
        for verdict in judge(runs):
            missed += not verdict.passed
            worse += not verdict.holds
            print(row(verdict, markdown=wishes.markdown), flush=True)
        if wishes.pictures:
            from fluido.testing.pictures import draw  # noqa: PLC0415  matplotlib is an extra

            draw(runs, wishes.pictures)
    if wishes.markdown:
        print()
    print(f"{missed} missed, {worse} of them unknown so far, {time.perf_counter() - began_s:.0f} s")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
