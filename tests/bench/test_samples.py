"""Results survive the way to disk and back; foreign files are refused in a sentence."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.samples import (
    Block,
    Outcome,
    Results,
    ResultsError,
    Sample,
    Timeline,
    finite,
    from_document,
    raw_path,
    read,
    to_document,
    write,
)


def block(arm: str = "v1", number: int = 0, **changes: Any) -> Block:
    samples = (
        Sample(0.0, 0.1, 2.0, Outcome.ANSWERED, 0.5, 24),
        Sample(1.0, 1.0, 1.1, Outcome.REFUSED, None, 0, "429"),
        Sample(2.0, 2.0, 9.0, Outcome.ANSWERED, 8.0, 24),
    )
    values: dict[str, Any] = {
        "experiment": "llm", "arm": arm, "level": 0.9, "round": number, "position": 0, "warm_up": False,
        "busy": False, "busy_before": 0.1, "steal": 0.0, "load_1m": 1.0, "duration_s": 10.0,
        "samples": samples,
    }  # fmt: skip
    return Block(**{**values, **changes})


def test_latencies_count_answers_from_the_intended_start() -> None:
    assert block().latencies("total_s") == [2.0, 7.0]
    assert block().latencies("ttft_s") == [0.5, 6.0]
    assert block().count(Outcome.REFUSED) == 1


def test_in_time_is_a_share_of_all_requests_also_of_the_refused() -> None:
    assert block().share_in_time(ttft_s=1.0, total_s=4.0) == pytest.approx(1 / 3)
    assert block().share_in_time(ttft_s=10.0, total_s=10.0) == pytest.approx(2 / 3)


def test_select_leaves_the_warm_up_out_and_sorts_by_round() -> None:
    results = Results(
        {}, {}, [block(number=2), block(number=1), block(number=0, warm_up=True), block("v2", 1)]
    )
    assert [found.round for found in results.select("llm", "v1")] == [1, 2]
    assert results.select("llm", "v1", 0.5) == []


def test_a_document_survives_the_disk(tmp_path: Path) -> None:
    line = Timeline("step", "v2", 0, [0.0, 0.5], {"limit": [2.0, None]}, [[0.25, "slower"]])
    blocks = [block(), block("v2", figures={"per_s": 3.5})]
    results = Results({"cores": 2}, {"seed": 1}, blocks, ["a note"], complete=True, timelines=[line])
    path = tmp_path / "results.json"
    write(to_document(results, derived={"summary": [finite({"ratio": math.nan, "name": "x"})]}), path)
    document = read(path)
    assert document["summary"] == [{"ratio": None, "name": "x"}]
    assert from_document(document) == results
    assert sorted(tmp_path.iterdir()) == sorted([path, raw_path(path)])
    assert read(path, blocks=False)["blocks"] == []
    write(to_document(Results({}, {}, [block()])), tmp_path / "other.json")
    raw_path(tmp_path / "other.json").replace(raw_path(path))
    with pytest.raises(ResultsError, match="another run"):
        read(path)
    raw_path(path).unlink()
    with pytest.raises(ResultsError, match="keeps its raw samples"):
        read(path)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({}, "not a result"),
        ([], "not a result"),
        ({"schema": "sentinel-fluido/bench", "version": 1}, "schema version 1"),
        ({"schema": "sentinel-fluido/bench", "version": 2}, "schema version 2"),
        ({"schema": "sentinel-fluido/bench", "version": 3}, "schema version 3"),
        ({"schema": "sentinel-fluido/bench", "version": 4}, "damaged"),
    ],
)
def test_foreign_and_old_documents_are_refused(document: Any, sentence: str) -> None:
    with pytest.raises(ResultsError, match=sentence):
        from_document(document)


def test_a_damaged_block_is_refused() -> None:
    document = to_document(Results({}, {}, [block()]))
    del document["blocks"][0]["samples"]["outcome"]
    with pytest.raises(ResultsError, match="damaged"):
        from_document(document)


def test_files_that_are_missing_or_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="cannot be read"):
        read(tmp_path / "absent.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(ResultsError, match="is not JSON"):
        read(tmp_path / "text.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ResultsError, match="is not a result"):
        read(tmp_path / "list.json")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"old": True}))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write({"bad": math.nan, "blocks": []}, path)
    assert json.loads(path.read_text()) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]
