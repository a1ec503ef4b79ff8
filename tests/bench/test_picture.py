"""The picture is one screen, shows only what was run, and nothing where there were too few rounds."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from bench import charts
from bench.claims import document
from bench.picture import _panels, overview
from bench.summary import capacities_of, rows_of

from .builders import day_timeline, results, whole_run


@pytest.fixture(scope="module")
def whole() -> Any:
    return document(whole_run(5))


def test_five_charts_fit_on_one_screen(whole: Any, tmp_path: Path) -> None:
    assert len(_panels(whole, "es")) == 5
    for language in ("es", "en"):
        overview(whole, tmp_path / f"{language}.png", language)  # type: ignore[arg-type]  # a literal
        width, height = Image.open(tmp_path / f"{language}.png").size
        assert width <= 1366
        assert height <= 768


def test_only_what_was_run_is_drawn(tmp_path: Path) -> None:
    alone = document(results(rounds=6))
    assert [name for name, _ in _panels(alone, "en")] == ["targets", "load"]
    overview(alone, tmp_path / "x.png")


def test_under_five_rounds_nothing_is_drawn_and_the_picture_says_so(tmp_path: Path) -> None:
    short = document(results(rounds=3))
    assert _panels(short, "es") == []
    overview(short, tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 5_000


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in (*axes.get_yticklabels(), *axes.get_xticklabels())]


def test_labels_are_in_the_language_that_is_asked(whole: Any) -> None:
    rows = rows_of(whole)
    for language, word in (("es", "Extremo a extremo"), ("en", "End to end")):
        axes = Figure().add_subplot()
        charts.targets(axes, [rows, rows], language)  # type: ignore[arg-type]  # a literal
        assert word in labels(axes)


def test_capacities_stand_beside_their_version(whole: Any) -> None:
    axes = Figure().add_subplot()
    charts.over_load(axes, rows_of(whole), capacities_of(whole)["people"], "es")
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(text.startswith("V2, capacidad 2") for text in said)
    assert axes.get_ylim()[0] == 0


def test_the_day_shows_limit_reference_phases_and_reasons() -> None:
    axes = Figure().add_subplot()
    charts.through_the_day(axes, day_timeline(), "es")
    said = {text.get_text() for text in axes.texts}
    assert {"una fila disputada", "leap", "shift"} <= said
    assert len(axes.lines) >= 2
