"""What the three commands share: run, keep, draw, print."""

import errno
from dataclasses import replace
from pathlib import Path

import typer
import uvloop
from rich.console import Console

import embedded
from bench.charts import sheet
from bench.claims import claims
from bench.journal import Journal
from bench.profiles import EngineName, Profile
from bench.progress import Steps
from bench.run import Run, begin, planned_s
from bench.samples import Results, ResultsError, to_document, write
from bench.server import ServerError
from bench.table import show

BACKEND = Path(__file__).parents[1]
RESULTS = BACKEND / "buffer_comparison_results.json"
GRAPHS = BACKEND / "buffer_comparison_graphs.png"


def compare_arms(
    profile: Profile,
    console: Console,
    *,
    engine: EngineName | None = None,
    resume: bool = False,
    results_path: Path = RESULTS,
    graphs_path: Path | None = GRAPHS,
) -> Results:
    """Run a profile, print its tables, write JSON and picture. Ctrl-C keeps what was measured.

    Raises typer.Exit with a status and a sentence when nothing can be measured or written.
    """
    profile = replace(profile, engine=engine or profile.engine)
    results = begin(profile)
    journal = Journal(results_path.with_suffix(".partial.jsonl"))
    try:
        if resume:
            console.print(f"Going on: {journal.resume(results)} blocks are there already.")
        else:
            journal.begin(results)
        _measure(profile, results, journal, console)
        _keep(results, results_path, graphs_path, console)
    except (embedded.GroundError, ServerError, ResultsError) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            raise
        console.print(f"[red]The result cannot be written: {error.strerror}.[/red]", highlight=False)
        raise typer.Exit(1) from None
    if results.complete:
        journal.forget()
    return results


def _measure(profile: Profile, results: Results, journal: Journal, console: Console) -> None:
    minutes = planned_s(profile) / 60
    console.print(
        f"Profile {profile.name}, engine {profile.engine}: about {minutes:.1f} min. "
        "Ctrl-C keeps what was measured."
    )
    steps = Steps(planned_s(profile), console=console)
    with steps.shown():
        try:
            uvloop.run(Run(profile, results, journal, steps)())
        except KeyboardInterrupt:
            results.notes.append("stopped with Ctrl-C before the end")


def _keep(results: Results, results_path: Path, graphs_path: Path | None, console: Console) -> None:
    if not any(not block.warm_up for block in results.blocks):
        console.print("Nothing was measured yet, so nothing is written.")
        raise typer.Exit(130)
    document = to_document(results, summary=[claim.row() for claim in claims(results)])
    write(document, results_path)
    show(document, console)
    written = [results_path.name]
    if graphs_path is not None:
        sheet(results, document["summary"], graphs_path)
        written.append(graphs_path.name)
    console.print(f"Written: {', '.join(written)}", highlight=False)
