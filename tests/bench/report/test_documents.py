"""The documents: as long as a person reads, in words that a person uses, and saying what the files say."""

import csv
import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.report import command, figures, impact, slides
from bench.report.command import Rendered
from bench.report.day import day_of
from bench.report.page import Page, pages
from bench.report.study import Study
from tests.bench.builders import whole_run

from .conftest import ROOT, part, run

LIMITS = {
    "RESUMEN_BUFFERS_DINAMICOS.md": 1.0,
    "RESULTADOS_BUFFERS_DINAMICOS.md": 8.0,
    "COMPARACION_FINAL_V1_V2.md": 4.0,
    "ANALISIS_IMPACTO_INFRAESTRUCTURA_TI.md": 3.0,
    "REIVINDICACION_7_BUFFERS_DINAMICOS.md": 6.0,
    "REPRODUCIR.md": 2.0,
    "ESTADO_PLAN.md": 0.6,
}
"""Pages of 45 lines or 450 words."""
BANNED = (
    r"brazos?", "llamador(es)?", r"clavad[oa]s?", "palancas?", "sólo", "veces mejor", "órdenes",
    "hecho con cuidado", r"revolucionari[oa]", "sin precedentes", "líder", "inigualable",
    r"extraordinari[oa]", "pionero", "increíble",
)  # fmt: skip
ABSENT = "sin medir en esta corrida"


@pytest.fixture(params=["full", "standard", "quick"])
def study(request: pytest.FixtureRequest) -> Study:
    found: Study = request.getfixturevalue(request.param)
    return found


def markdown(made: Rendered) -> dict[str, str]:
    return {name: text for name, text in made.documents.items() if name.endswith(".md")}


def test_no_document_is_longer_than_it_may_be(study: Study) -> None:
    made = markdown(command.render(study))
    assert set(made) == {*LIMITS, "PRESENTACION_ANID.md"}
    too_long = {name: pages(made[name]) for name, most in LIMITS.items() if pages(made[name]) > most}
    assert not too_long


def test_a_page_is_counted_by_lines_and_by_words() -> None:
    page = Page("x")
    page.table(("a", "b"), [("1", "2")] * 43)
    assert 1.0 <= pages(page.text()) <= 1.1
    page = Page("x")
    page.say("palabra " * 900)
    assert pages(page.text()) >= 2.0


def test_every_document_renders_whole_from_any_run(study: Study) -> None:
    for name, text in command.render(study).documents.items():
        assert not re.search(r"\bnan\b|\binf\b|\bNone\b|  +\|", text), name
        for block in text.split("\n\n"):
            lines = block.splitlines()
            assert not (lines and lines[-1].startswith("|---")), f"{name}: a table without rows"


def test_what_was_not_run_is_one_sentence(standard: Study) -> None:
    made = markdown(command.render(standard))
    text = made["RESULTADOS_BUFFERS_DINAMICOS.md"]
    sentence = text.partition(f"**{ABSENT.capitalize()}:** ")[2].partition("\n")[0]
    assert all(name in sentence for name in ("un día que cambia", "conversaciones vivas", "Ollama"))
    assert "## Conversaciones vivas" not in text
    assert f"**Fallas provocadas:** {ABSENT}." in made["RESUMEN_BUFFERS_DINAMICOS.md"]
    assert "informe_day.png" not in "".join(made.values())


def test_real_engines_stand_apart_from_the_synthetic_weights(full: Study, rendered: Rendered) -> None:
    text = rendered.documents["RESULTADOS_BUFFERS_DINAMICOS.md"].partition("## Motores reales")[2]
    section = text.partition("\n## ")[0]
    assert "| SmolLM2 (pesos reales) |" in section
    assert "| Ollama |" in section
    assert [run.engine for run in full.runs] == ["synthetic", "synthetic"]
    assert "`python -m bench run standard --engine ollama`" in rendered.documents["REPRODUCIR.md"]


def test_words_that_a_reader_in_chile_would_not_write(study: Study) -> None:
    made = command.render(study)
    for name, text in markdown(made).items():
        found = [word for word in BANNED if re.search(rf"\b{word}\b", text.lower())]
        assert not found, name


def test_the_origin_is_at_the_end(rendered: Rendered) -> None:
    for name, text in markdown(rendered).items():
        assert "0123456789ab" not in text[: len(text) // 2], name
        assert "0123456789ab" in text[len(text) // 2 :], name


def test_what_is_assumed_of_v1_comes_before_the_first_table(rendered: Rendered) -> None:
    for name in ("RESULTADOS_BUFFERS_DINAMICOS.md", "COMPARACION_FINAL_V1_V2.md"):
        assert "Qué se supone de V1" in rendered.documents[name].partition("\n|")[0]


def test_every_cited_row_has_its_number_in_the_annex(rendered: Rendered) -> None:
    annex = {row["fila"]: row for row in csv.DictReader(io.StringIO(rendered.documents["anexo/filas.csv"]))}
    assert len(annex) > 200
    cited = 0
    for text in markdown(rendered).values():
        for row in _tables(text):
            ratio = (
                row.get("razón") or row.get("razón medida") or row.get("medido") or row.get("razón de la ley")
            )
            if not row.get("fila") or not ratio:
                continue
            kept = float(annex[row["fila"]]["ratio"])
            assert (
                abs(float(ratio.replace(".", "").replace(",", ".")) - kept)
                <= 0.5 * 10 ** -_decimals(ratio) * 1.01
            ), row
            cited += 1
    assert cited > 40


def _decimals(text: str) -> int:
    return len(text.partition(",")[2])


def _tables(text: str) -> list[dict[str, str]]:
    found = []
    for block in text.split("\n\n"):
        lines = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in block.splitlines()
            if line[:1] == "|"
        ]
        found += [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]
    return found


def test_where_it_does_not_help_tells_slower_equal_and_open_apart(rendered: Rendered, full: Study) -> None:
    section = rendered.documents["RESULTADOS_BUFFERS_DINAMICOS.md"].partition("## Dónde no ayuda")[2]
    section = section.partition("\n## ")[0]
    slower, equal, unknown = re.split(r"\*\*(?:Igual|Sin demostrar)", section)
    assert "**Más lento" in slower
    assert "oráculo" in slower
    assert len(re.findall(r"^- ", equal, re.MULTILINE)) > 0
    assert not full.kinds()["open"]
    assert "Ninguna medida." in unknown


def test_a_gain_is_never_listed_where_it_does_not_help(study: Study) -> None:
    kinds = study.kinds()
    assert all(figure.row.high < 1 for figure in kinds["worse"])
    assert all(figure.row.low <= 1 <= figure.row.high for figure in kinds["equal"])
    for figure in kinds["open"]:
        assert not figure.is_known or figure.row.low <= 1 <= figure.row.high


def test_only_the_five_have_a_verdict(rendered: Rendered) -> None:
    text = rendered.documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    section = text.partition("## Las cinco afirmaciones")[2].partition("\n## ")[0]
    assert section.count("demostrado") == 5
    assert "veredicto" not in rendered.documents["anexo/filas.csv"].splitlines()[0]


def test_servers_are_counted_only_where_the_capacity_was_measured(full: Study, quick: Study) -> None:
    shown, hidden = (impact.render(study) for study in (full, quick))
    assert "De cada 100 servidores con V1 bastan" in shown
    assert "no se calcula ningún servidor" in hidden.replace("Sin ella n", "n")
    assert "De cada 100" not in hidden
    for text in (shown, hidden):
        assert "US$" not in text
        assert "kWh" not in text


def test_no_saving_is_claimed_where_the_intervals_touch() -> None:
    made = whole_run(6)
    alike = [
        replace(b, figures={"per_s": 10.0 + b.round / 10}) if b.experiment == "capacity" else b
        for b in made.blocks
    ]
    text = impact.render(Study([run(part(replace(made, blocks=alike), rounds=6))]))
    assert "frente a V1 no se afirma ningún ahorro" in text
    assert "De cada 100" not in text


def test_a_picture_needs_five_rounds(full: Study, standard: Study, quick: Study) -> None:
    charts = [set(figures.names(study)) - {"idea", "method"} for study in (full, standard, quick)]
    assert charts[0] == {"customer", "load", "ladder", "live", "day"}
    assert charts[1] == {"customer"}
    assert charts[2] == set()
    assert "corrida corta" in command.render(quick).documents["RESUMEN_BUFFERS_DINAMICOS.md"]


def test_nine_slides_that_fit_and_say_what_the_document_says(study: Study, tmp_path: Path) -> None:
    made = command.render(study)
    assert slides.overflowing(made.deck) == []
    text = made.documents["PRESENTACION_ANID.md"]
    assert len(re.findall(r"^## \d\. ", text, re.MULTILINE)) == 9
    assert [slide.title.startswith("Respaldo") for slide in made.deck[:10]] == [False] * 9 + [True]
    for slide in made.deck:
        assert slide.title in text


def test_a_slide_that_is_too_full_is_named() -> None:
    crowded = slides.Slide("Demasiado", points=("palabra " * 40,) * 8)
    assert slides.overflowing([slides.Slide("Bien", points=("poco",)), crowded]) == ["Demasiado"]


def test_what_was_published_agrees_until_a_number_changes(full: Study, quick: Study, tmp_path: Path) -> None:
    names = command.publish(full, tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {*names, *(path for _, path in figures.names(full).values())}
    assert command.disagreeing(full, tmp_path) == []

    page = tmp_path / "RESULTADOS_BUFFERS_DINAMICOS.md"
    page.write_text(page.read_text(encoding="utf-8").replace("no cumplida", "cumplida"), encoding="utf-8")
    assert command.disagreeing(full, tmp_path) == [page.name]
    assert "PRESENTACION_ANID.pptx" in command.disagreeing(quick, tmp_path)


def test_every_file_that_a_document_names_exists(rendered: Rendered) -> None:
    for name, text in markdown(rendered).items():
        for path in re.findall(r"`((?:src|backend|tests|docs)/[^` ]+)`", text):
            assert (ROOT / path).exists(), f"{name} names {path}"


def test_reasons_on_the_chart_of_the_day_are_the_laws_and_do_not_cover_each_other(full: Study) -> None:
    found = day_of(full)
    assert found is not None
    assert found.timeline is not None
    crowded = replace(
        found.timeline, events=[*found.timeline.events, *((5.0 + at / 100, "leap") for at in range(50))]
    )
    marks = replace(found, timeline=crowded).marks()
    reasons = [at for at, _, begins in marks if not begins]
    assert len(reasons) == 4
    assert all(later - one >= max(crowded.at_s) / 40 for one, later in itertools.pairwise(reasons))
    assert sum(begins for _, _, begins in marks) == 10
