"""`python -m bench.faults` hurts one part after the other under load: ten minutes, and what it cost.

Exit code 1 when an acknowledged message is lost, doubled, out of order or elsewhere, or something is leaked.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.environment import describe
from bench.faults.faults import Fault, long, short, shuffled
from bench.faults.picture import draw
from bench.faults.run import Outcome, Run, with_left_over
from bench.faults.scene import ROOT, Scene
from bench.faults.windows import Cost
from embedded import GroundError

OUT = ROOT / "build" / "faults"
SHARE = 0.6
SEED = 20261122


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="two minutes: what happens most, once each")
    parser.add_argument("--only", default="", help="faults whose names hold one of these words (comma)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the order and the load (%(default)s)")
    parser.add_argument("--share", type=float, default=SHARE, help="of the capacity (%(default)s)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results (%(default)s)")
    return parser.parse_args()


def say(line: str) -> None:
    print(line, flush=True)


def chosen(wishes: argparse.Namespace) -> list[Fault]:
    words = [word.strip().lower() for word in wishes.only.split(",") if word.strip()]
    if words:
        return [fault for fault in long() if any(word in fault.name.lower() for word in words)]
    # The long form hurts everything, and what happens most twice more, each time in another order.
    if wishes.short:
        return shuffled(short(), wishes.seed)
    rounds = (long(), short(), short())
    return [fault for number, faults in enumerate(rounds) for fault in shuffled(faults, wishes.seed + number)]


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def table(costs: Sequence[Cost]) -> list[str]:
    """Markdown, one row a fault."""
    head = (
        "fault",
        "errors of requests",
        "codes",
        "first success",
        "last error",
        "old latency",
        "taken over",
        "success after that",
        "lost",
        "doubled",
    )
    rows = [
        (
            one.name,
            f"{one.errors} of {one.requests}",
            ", ".join(f"{code} x{count}" for code, count in sorted(one.by_code.items())) or "none",
            seconds(one.first_success_s),
            seconds(one.last_error_s),
            seconds(one.old_latency_s),
            seconds(one.taken_over_s),
            seconds(one.after_takeover_s),
            str(one.lost),
            str(one.doubled),
        )
        for one in costs
    ]
    return ["| " + " | ".join(row) + " |" for row in (head, tuple("---" for _ in head), *rows)]


def lines(outcome: Outcome, commit: str, seed: int) -> list[str]:
    verdict = outcome.verdict
    found = [*verdict.lost, *verdict.doubled, *verdict.disordered, *verdict.misplaced]
    found += [*outcome.leaks]
    found += [f"torn answer to {text}" for text in outcome.torn]
    found += [f"never answered: {text}" for text in outcome.given_up]
    told = (
        f"Commit {commit}, seed {seed}: {outcome.acknowledged} messages acknowledged; load "
        f"{outcome.rate_per_s:.1f}/s of {outcome.capacity_per_s:.1f}/s; usual answer "
        f"{outcome.usual_s * 1e3:.0f} ms."
    )
    kept = (
        f"Lost {len(verdict.lost)}, doubled {len(verdict.doubled)}, out of order {len(verdict.disordered)}, "
        f"in a wrong place {len(verdict.misplaced)}, leaks {len(outcome.leaks)}, "
        f"torn {len(outcome.torn)}, never answered {len(outcome.given_up)}."
    )
    skipped = [f"Not tried: {name} ({reason})." for name, reason in outcome.skipped.items()]
    return [told, "", *table(outcome.costs), "", *skipped, kept, *found[:40]]


async def play(wishes: argparse.Namespace) -> Outcome:
    faults = chosen(wishes)
    needs = {fault.needs for fault in faults}
    say("starting two of everything")
    logs = wishes.out / "log"
    async with Scene(needs_disk="disk" in needs, needs_clock="clock" in needs, logs=logs) as scene:
        run = Run(
            scene,
            faults,
            seed=wishes.seed,
            share=wishes.share,
            measure_s=8.0 if wishes.short or wishes.only else 20.0,
            say=say,
        )
        outcome = await run()
    outcome = with_left_over(outcome, scene.left_over())
    wishes.out.mkdir(parents=True, exist_ok=True)
    title = f"Latency through faults, {outcome.rate_per_s:.1f} messages/s ({wishes.share:.0%} of capacity)"
    draw(wishes.out / "faults.png", run.people.notes.tries, outcome.windows, title=title)
    here = describe()
    told = lines(outcome, here.commit, wishes.seed)
    (wishes.out / "faults.md").write_text("\n".join(told) + "\n")
    record = {
        "seed": wishes.seed,
        "environment": asdict(here),
        "outcome": asdict(outcome),
        "holds": outcome.holds,
        "tries": [[round(one.at_s, 3), round(one.took_s, 4), one.error] for one in run.people.notes.tries],
    }
    (wishes.out / "faults.json").write_text(json.dumps(record, indent=1) + "\n")
    for line in told:
        say(line)
    say(f"JSON, table and picture in {wishes.out}")
    return outcome


def main() -> int:
    try:
        outcome = asyncio.run(play(arguments()))
    except GroundError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
