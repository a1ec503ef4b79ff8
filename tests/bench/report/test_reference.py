"""The committed run and what was rendered from it."""

import json

import pytest

from bench.report import command, marked
from bench.report.sources import ReportError
from bench.samples import SCHEMA_VERSION


def test_the_reference_run_and_the_committed_documents_agree() -> None:
    """Documents, annex, deck and the marked places of the READMEs; a run of an older form is refused."""
    if json.loads(command.RESULTS.read_text(encoding="utf-8"))["version"] != SCHEMA_VERSION:
        with pytest.raises(ReportError, match="hay que repetir la medición"):
            command.reference()
        return
    study = command.reference()
    assert command.disagreeing(study, command.DOCS) == []
    assert marked.disagreeing(study, command.ROOT) == []
    assert not any(run.is_dirty for run in (*study.runs, *study.others)), "measured on changed code"
