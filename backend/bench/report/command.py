"""`python -m bench report`: read result files, write the documents, or check that they still agree."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.report import (
    agency,
    claim7,
    comparison,
    figures,
    infrastructure,
    reproduce,
    results,
    slides,
    summary,
)
from bench.report.errors import ReportError
from bench.report.ledger import Entry, Ledger
from bench.report.sources import Material, gather, is_part

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = DOCS / "results" / "reference"
RESULTS = REFERENCE / "buffer_comparison_results.json"
AGAIN = REFERENCE / "second_run.json"
GRAPHS = "buffer_comparison_graphs.png"
TRACE = "traza_informes.json"
DECK = "PRESENTACION_ANID.pptx"
FAILED = 2


ILLUSTRATED: dict[str, Callable[[Material, Ledger, Sequence[tuple[str, str]]], str]] = {
    "RESULTADOS_BUFFERS_DINAMICOS.md": results.render,
    "COMPARACION_FINAL_V1_V2.md": comparison.render,
}
PLAIN: dict[str, Callable[[Material, Ledger], str]] = {
    "ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md": infrastructure.render,
    "REIVINDICACION_7_BUFFERS_DINAMICOS.md": claim7.render,
    "REPRODUCIR.md": reproduce.render,
    "RESUMEN_BUFFERS_DINAMICOS.md": summary.render,
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """Everything in memory: documents by file name, the deck, and where each number came from."""

    documents: dict[str, str]
    deck: list[slides.Slide]
    foot: str
    entries: tuple[Entry, ...]


def render(material: Material, pictures: Sequence[tuple[str, str]] = (), *, marked: bool = False) -> Rendered:
    """All documents from the files alone: the same files give the same bytes."""
    ledger = Ledger(marked=marked)
    made: dict[str, str] = {}
    for name, illustrated in ILLUSTRATED.items():
        ledger.page = name
        made[name] = illustrated(material, ledger, pictures)
    for name, plain in PLAIN.items():
        ledger.page = name
        made[name] = plain(material, ledger)
    ledger.page = "PRESENTACION_ANID.md"
    deck = agency.deck(material, ledger, pictures)
    made[ledger.page] = agency.render(material, ledger, deck)
    made[TRACE] = _trace(ledger.entries, material)
    foot = f"{material.main.name}, commit {material.main.commit}, huella {material.main.digest}"
    return Rendered(made, deck, foot, tuple(ledger.entries))


def _trace(entries: Sequence[Entry], material: Material) -> str:
    """Machine-readable: files by letter; by document, each printed number with its paths and its formula."""
    sources = {
        source.letter: {
            "file": source.name,
            "sha256": source.digest,
            "commit": source.commit,
            "command": source.command,
        }
        for source in material.sources
    }
    parts = [f'"sources": {json.dumps(sources, ensure_ascii=False)}']
    for page in dict.fromkeys(entry.page for entry in entries):
        lines = dict.fromkeys(_trace_line(entry) for entry in entries if entry.page == page)
        parts.append(f"{json.dumps(page)}: [\n" + ",\n".join(lines) + "\n]")
    return "{" + ",\n".join(parts) + "}\n"


def _trace_line(entry: Entry) -> str:
    """`["2,45", "R.summary.8.ratio"]`; with more inputs or a formula, those as well."""
    paths = [".".join([letter, *map(str, path)]) for letter, path in entry.paths]
    return json.dumps(
        [entry.text, *paths, *([f"= {entry.formula}"] if entry.formula else [])], ensure_ascii=False
    )


def publish(material: Material, out: Path, beside: Path | None = None) -> list[str]:
    """Write documents, pictures and deck into a folder; returns the names. `beside`: folder of the result."""
    out.mkdir(parents=True, exist_ok=True)
    figures.draw(material, out / figures.FOLDER)
    rendered = render(material, pictures_of(material, out, beside))
    for name, text in rendered.documents.items():
        (out / name).write_text(text, encoding="utf-8")
    slides.write(rendered.deck, out / DECK, rendered.foot)
    return [*rendered.documents, DECK]


def pictures_of(material: Material, out: Path, beside: Path | None) -> list[tuple[str, str]]:
    """Our own pictures, and the sheet of the benchmark where it lies beside its result."""
    found = figures.names(material)
    if beside is not None and (beside / GRAPHS).exists():
        path = Path(os.path.relpath(beside / GRAPHS, out)).as_posix()
        found.append(("Lámina del banco de pruebas (rótulos en inglés)", path))
    return found


def disagreeing(material: Material, out: Path, beside: Path | None = None) -> list[str]:
    """Documents in a folder that are not what the files give now."""
    rendered = render(material, pictures_of(material, out, beside))
    wrong = [name for name, text in rendered.documents.items() if _read(out / name) != text]
    deck = out / DECK
    if not deck.exists() or slides.texts(deck) != slides.expected(rendered.deck, rendered.foot):
        wrong.append(DECK)
    return wrong


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def default_parts() -> list[Path]:
    """Component results that are committed: every JSON in docs/results that has their form."""
    found = sorted(p for p in (DOCS / "results").glob("*/*.json") if p.parent != REFERENCE)
    return [path for path in found if is_part(path)]


def report(
    results: Annotated[Path, typer.Option(help="Result of the benchmark (JSON).")] = RESULTS,
    components: Annotated[
        list[Path] | None, typer.Option(help="Component results; those in docs/results unless given.")
    ] = None,
    again: Annotated[Path | None, typer.Option(help="A second run on the same machine.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the documents.")] = DOCS,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: do the documents agree?")] = False,
) -> None:
    """Write the Spanish documents and slides from result files alone."""
    console = Console()
    second = again or (AGAIN if results == RESULTS and AGAIN.exists() else None)
    try:
        material = gather(results, default_parts() if components is None else components, second)
        wrong = disagreeing(material, out, results.parent) if check else []
        names = [] if check else publish(material, out, results.parent)
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
