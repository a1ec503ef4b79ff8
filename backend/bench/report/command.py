"""`python -m bench report`: read result files, write the documents, or check that they still agree."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.report import (
    annex,
    claim7,
    comparison,
    figures,
    impact,
    marked,
    plan,
    presentation,
    reproduce,
    results,
    slides,
    summary,
)
from bench.report.presentation import Pictures
from bench.report.sources import ReportError, read_run
from bench.report.study import Study

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "results" / "reference"
RESULTS = REFERENCE / "buffer_comparison_results.json"
AGAIN = REFERENCE / "second_run.json"
ANNEX = "anexo"
DECK = "PRESENTACION_ANID.pptx"
FAILED = 2


@dataclass(frozen=True, slots=True)
class Rendered:
    """Everything in memory: text by path from the folder of the documents, and the deck."""

    documents: dict[str, str]
    deck: list[slides.Slide] = field(default_factory=list)
    foot: str = ""


def render(study: Study, pictures: Pictures | None = None) -> Rendered:
    """All documents from the files alone: the same files give the same text."""
    shown = figures.names(study) if pictures is None else pictures
    deck = presentation.deck(study, shown)
    made = {
        "RESUMEN_BUFFERS_DINAMICOS.md": summary.render(study, shown),
        "RESULTADOS_BUFFERS_DINAMICOS.md": results.render(study, shown),
        "COMPARACION_FINAL_V1_V2.md": comparison.render(study, shown),
        "ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md": impact.render(study),
        "REIVINDICACION_7_BUFFERS_DINAMICOS.md": claim7.render(study, shown),
        "REPRODUCIR.md": reproduce.render(study),
        "ESTADO_PLAN.md": plan.render(study),
        "PRESENTACION_ANID.md": presentation.render(study, deck),
        **{f"{ANNEX}/{name}": text for name, text in annex.files(study).items()},
    }
    foot = f"{study.main.name}, commit {study.main.commit}, huella {study.main.digest}"
    return Rendered(made, deck, foot)


def publish(study: Study, out: Path) -> list[str]:
    """Write documents, annex, pictures and deck into a folder; returns the names."""
    (out / ANNEX).mkdir(parents=True, exist_ok=True)
    figures.draw(study, out / figures.FOLDER)
    rendered = render(study)
    for name, text in rendered.documents.items():
        (out / name).write_text(text, encoding="utf-8")
    slides.write(rendered.deck, out / DECK, rendered.foot)
    return [*rendered.documents, DECK]


def disagreeing(study: Study, out: Path) -> list[str]:
    """Documents in a folder that are not what the files give now."""
    rendered = render(study)
    wrong = [name for name, text in rendered.documents.items() if _read(out / name) != text]
    deck = out / DECK
    if not deck.exists() or slides.texts(deck) != slides.expected(rendered.deck, rendered.foot):
        wrong.append(DECK)
    wrong += [path for _, path in figures.names(study).values() if not (out / path).exists()]
    return wrong


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def gather(results: Path, again: Sequence[Path] = ()) -> Study:
    """A result and more of the same or of other engines. `ReportError` says in a sentence what is wrong."""
    return Study([read_run(path) for path in (results, *again)])


def reference() -> Study:
    """The committed runs: the first, its repetition, and whatever else lies beside them."""
    rest = sorted(path for path in REFERENCE.glob("*.json") if path not in {RESULTS, AGAIN})
    return gather(RESULTS, [*([AGAIN] if AGAIN.exists() else []), *rest])


def report(
    results: Annotated[Path, typer.Option(help="Result of the benchmark (JSON).")] = RESULTS,
    again: Annotated[
        list[Path] | None,
        typer.Option(help="More runs: a repetition, or one on another engine; may be given again."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the documents.")] = DOCS,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: do the documents agree?")] = False,
) -> None:
    """Write the Spanish documents and slides from result files alone."""
    console = Console()
    try:
        study = reference() if results == RESULTS and not again else gather(results, again or ())
        wrong = disagreeing(study, out) if check else []
        names = [] if check else publish(study, out)
        if out == DOCS:
            wrong += marked.disagreeing(study, ROOT) if check else []
            names += [] if check else marked.publish(study, ROOT)
    except ReportError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(FAILED) from None
    except OSError as error:
        console.print(f"No se pueden escribir los informes: {error.strerror}.", style="red", markup=False)
        raise typer.Exit(FAILED) from None
    if wrong:
        console.print(f"No corresponden a sus datos: {', '.join(wrong)}.", style="red", markup=False)
        raise typer.Exit(1)
    console.print(
        f"Escritos: {', '.join(names)}" if names else "Todos corresponden a sus datos.", highlight=False
    )
