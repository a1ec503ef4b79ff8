"""Figures in both READMEs and in the page of the reference run are written from the runs, never typed."""

import re
import shutil
from pathlib import Path

import pytest

from bench.report import marked
from bench.report.sources import ReportError
from bench.report.study import Study

from .conftest import ROOT


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Copies of the files that have such a place."""
    for name in marked.FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_number_that_was_typed_over_is_found(root: Path, full: Study) -> None:
    marked.publish(full, root)
    assert marked.disagreeing(full, root) == []
    page = root / "README.md"
    text = page.read_text(encoding="utf-8")
    ratio = re.search(r"\| V1 \| (\d+\.\d+) \|", text)
    assert ratio is not None
    page.write_text(text.replace(ratio[0], "| V1 | 9.99 |"), encoding="utf-8")
    assert marked.disagreeing(full, root) == ["README.md"]


def test_the_strongest_opponents_stand_beside_v1(full: Study) -> None:
    english, spanish = (marked.table(full, language) for language in ("en", "es"))
    for text, rivals in (
        (english, ("V1 tuned", "V2 constants")),
        (spanish, ("V1 ajustada", "V2 constantes")),
    ):
        assert all(f"| {rival} |" in text for rival in rivals)
    assert re.search(r"\d\.\d\d to \d\.\d\d \| \d\.\d\d and \d\.\d\d \|", english)
    assert re.search(r"\d,\d\d a \d,\d\d \| \d,\d\d y \d,\d\d \|", spanish)


def test_what_was_not_run_has_no_line(standard: Study) -> None:
    text = marked.table(standard, "en")
    assert "a day that changes" not in text
    assert "answers a second of one machine" in text


def test_a_lost_mark_is_an_error_that_names_the_file(root: Path, full: Study) -> None:
    page = root / "README.es.md"
    page.write_text(page.read_text(encoding="utf-8").replace("<!-- /evidence -->", ""), encoding="utf-8")
    with pytest.raises(ReportError, match=r"README\.es\.md debe tener una sola marca"):
        marked.publish(full, root)
