"""What the three commands share: run, keep, draw, print."""

import errno
from collections.abc import Callable
from pathlib import Path

import typer
import uvloop
from rich.console import Console

import embedded
from bench.claims import document
from bench.external import Borrowed, Services, from_environment
from bench.journal import Journal
from bench.picture import overview
from bench.profiles import Profile, on_external, on_real_weights
from bench.progress import Steps
from bench.run import Run, begin
from bench.samples import Results, ResultsError, raw_path, write
from bench.server import ServerError
from bench.stage import EngineName, Ground, Stage
from bench.table import show

BACKEND = Path(__file__).parents[1]
RESULTS = BACKEND / "buffer_comparison_results.json"
GRAPHS = BACKEND / "buffer_comparison_graphs.png"
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}
_ENGINES: dict[str, EngineName] = {
    "smollm2": "smollm2",
    "synthetic": "synthetic",
    "embedded": "smollm2",
    "ollama": "ollama",
}


def engine_called(name: str | None) -> EngineName | None:
    """The engine by its name on the command line."""
    if name is None:
        return None
    if name not in _ENGINES:
        raise typer.BadParameter(f"{name!r} is not one of: {', '.join(_ENGINES)}")
    return _ENGINES[name]


def compare_arms(
    profile: Profile,
    console: Console,
    *,
    engine: EngineName | None = None,
    resume: bool = False,
    external: Services | None = None,
    results_path: Path = RESULTS,
    graphs_path: Path | None = GRAPHS,
) -> Results:
    """Run a profile, print its tables, write JSON and picture. Ctrl-C keeps what was measured.

    Raises typer.Exit with a status and a sentence when nothing can be measured or written.
    """
    if engine in {"smollm2", "ollama"}:
        profile = on_real_weights(profile, engine)
    if external is not None:
        profile = on_external(profile)
        for sentence in external.describe():
            console.print(f"  {sentence}", highlight=False)
    results = begin(profile)
    journal = Journal(results_path.with_suffix(".partial.jsonl"))
    try:
        if resume:
            console.print(f"Going on: {journal.resume(results)} blocks are there already.")
        else:
            journal.begin(results)
        _measure(profile, results, journal, console, external)
        _keep(results, results_path, graphs_path, console)
    except (embedded.GroundError, ServerError, ResultsError) as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from None
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        console.print(f"[red]The result cannot be written: {error.strerror}.[/red]", highlight=False)
        raise typer.Exit(1) from None
    if results.complete:
        journal.forget()
    return results


def _measure(
    profile: Profile, results: Results, journal: Journal, console: Console, external: Services | None
) -> None:
    for name, planned_s in profile.parts():
        console.print(f"  {planned_s:5.0f} s  {name.replace('_', ' ')}", highlight=False)
    engine = "yours" if external else profile.engine
    console.print(
        f"Profile {profile.name}, engine {engine}: about {profile.planned_s / 60:.1f} min, no new round "
        f"after {profile.budget_s / 60:.1f}. Ctrl-C keeps what was measured."
    )
    steps = Steps(profile.planned_s, console=console)

    def ground(wanted: Profile, say: Callable[[str], None]) -> Ground:
        if external is not None:
            return Borrowed(external, wanted.arms, say=say)
        return Stage(wanted.arms, engine=wanted.engine, say=say)

    run = Run(profile, results, journal, steps, ground)
    with steps.shown():
        try:
            uvloop.run(run())
        except KeyboardInterrupt:
            results.notes.append("stopped with Ctrl-C before the end")
        except ServerError as error:
            if not results.blocks:
                raise
            results.notes.append(f"stopped before the end: {str(error).splitlines()[0]}")


def _keep(results: Results, results_path: Path, graphs_path: Path | None, console: Console) -> None:
    if not any(not block.warm_up for block in results.blocks):
        console.print("Nothing was measured yet, so nothing is written.")
        raise typer.Exit(130)
    told = document(results)
    write(told, results_path)
    show(told, console)
    written = [results_path.name, raw_path(results_path).name]
    if graphs_path is not None:
        overview(told, graphs_path)
        written.append(graphs_path.name)
    console.print(f"Written: {', '.join(written)}", highlight=False)


def customer_services() -> Services:
    """What DATABASE_URL, REDIS_URL and OLLAMA_URL name; a sentence and status 1 when one is missing."""
    try:
        return from_environment()
    except ServerError as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        raise typer.Exit(1) from None
