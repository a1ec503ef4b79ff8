"""An interrupted run goes on; another run's journal is refused."""

from dataclasses import asdict
from pathlib import Path

import pytest

from bench.journal import Journal
from bench.profiles import QUICK, STANDARD
from bench.run import begin
from bench.samples import ResultsError, Timeline

from .builders import block


def test_a_run_goes_on_after_a_line_that_was_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.partial.jsonl")
    first = begin(QUICK)
    journal.begin(first)
    blocks = [block("people", arm, 0, level=0.8, seconds=1.0, requests=10) for arm in ("v1", "v2")]
    journal.add(blocks)
    with journal.path.open("a") as file:
        file.write('{"experiment": "retur')
        file.write("\n")
    journal.tell("tuned", {"pool_size": {"chosen": 5}})
    journal.tell("timeline", asdict(Timeline("step", "v2", 0, [0.0], {"limit": [2.0]}, [])))
    second = begin(QUICK)
    assert journal.resume(second) == 2
    assert second.configuration["tuned"] == {"pool_size": {"chosen": 5}}
    assert second.timelines[0].arm == "v2"
    assert [(b.arm, b.round, len(b.samples)) for b in second.blocks] == [("v1", 0, 10), ("v2", 0, 10)]
    journal.forget()
    journal.forget()
    with pytest.raises(ResultsError, match="no interrupted run"):
        journal.resume(second)


def test_another_profile_or_commit_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.partial.jsonl")
    journal.begin(begin(QUICK))
    with pytest.raises(ResultsError, match="another profile"):
        journal.resume(begin(STANDARD))
    other = begin(QUICK)
    other.environment = {**other.environment, "commit": "another"}
    with pytest.raises(ResultsError, match="another commit"):
        journal.resume(other)
    journal.path.write_text("")
    with pytest.raises(ResultsError, match="left nothing"):
        journal.resume(begin(QUICK))
