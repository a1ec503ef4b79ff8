"""From blocks to rows and to the five claims; what a document says is what its blocks say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bench.catalogue import DAY, LAW, ORACLE, RUNGS, VISITS, WHOLE_DAY, constant
from bench.claims import (
    CLAIMS,
    CUSTOMER,
    attainment,
    contradiction,
    document,
    pool,
    summarise,
)
from bench.samples import Results, from_document
from bench.summary import Row, Summary, difference

from .builders import block, results, whole_run


@pytest.fixture(scope="module")
def whole() -> Summary:
    return summarise(whole_run())


def median(summary: Summary) -> Row:
    row = summary.row(VISITS, 0.8, "end to end p50", "v1", "v2")
    assert row is not None
    return row


def test_a_faster_version_is_better_by_its_factor_and_warm_up_does_not_count() -> None:
    found = summarise(results(speed=3.0))
    assert median(found).ratio == pytest.approx(3.0, rel=0.1)
    assert median(found).low < 3.0 < median(found).high
    assert found.claim("people").verdict == "better"
    assert (median(found).control_people, median(found).treatment_people) == (200, 400)


def test_the_same_code_twice_is_undecided() -> None:
    assert summarise(results(speed=1.0)).claim("people").verdict == "undecided"


def test_a_slower_version_is_worse() -> None:
    assert summarise(results(speed=0.5)).claim("people").verdict == "worse"


def test_a_version_that_refuses_is_not_called_better_however_fast() -> None:
    found = summarise(results(speed=3.0, lost=2))
    assert median(found).low > 2
    assert median(found).treatment_lost == 18
    assert found.claim("people").verdict == "undecided"


def test_there_are_five_claims_always_and_in_their_order() -> None:
    found = summarise(results())
    assert [claim.name for claim in found.claims] == [claim.name for claim in CLAIMS]
    assert {claim.name for claim in found.claims if claim.verdict == "not in this run"} == {
        "day", "postgresql", "redis", "faults",
    }  # fmt: skip


def test_a_whole_run_decides_all_five(whole: Summary) -> None:
    assert {claim.name: claim.verdict for claim in whole.claims} == dict.fromkeys(
        ("day", "people", "postgresql", "redis", "faults"), "better"
    )
    assert {claim.family for claim in whole.claims if claim.measure} == {4}
    assert all(claim.p_adjusted >= claim.p for claim in whole.claims if claim.measure)


def test_a_planned_claim_that_was_not_measured_counts_in_the_family_and_is_undecided() -> None:
    found = summarise(results(claims=("people", "postgresql")))
    assert found.claim("postgresql").verdict == "undecided"
    assert found.claim("people").family == 2


def test_one_lost_row_under_faults_is_worse() -> None:
    made = results(claims=("faults",))
    made.blocks.append(block("faults", "v2", 0, figures={"acknowledged": 9.0, "lost": 1.0, "doubled": 0.0}))
    assert summarise(made).claim("faults").verdict == "worse"


def test_the_day_is_judged_against_the_strongest_constant_and_the_oracle(whole: Summary) -> None:
    claim = whole.claim("day")
    rows = {row.control: row for row in whole.rows if (row.experiment, row.level) == (DAY, WHOLE_DAY)
            and row.measure == "share of the oracle"}  # fmt: skip
    strongest = max((name for name in rows if name != ORACLE), key=lambda name: rows[name].control_value)
    assert claim.control == strongest
    assert rows[ORACLE].ratio == pytest.approx(0.95, rel=0.03)
    assert rows[constant(4)].treatment == LAW
    assert 1.2 < claim.ratio < 1.5


def test_a_day_that_lacks_a_phase_is_no_day() -> None:
    made = whole_run()
    made.blocks = [b for b in made.blocks if not (b.experiment == DAY and b.level == 3.0)]
    assert summarise(made).claim("day").verdict == "undecided"


def test_requests_that_saw_less_history_are_counted_person_by_person(whole: Summary) -> None:
    mine = next(x for x in whole.shorter if (x.experiment, x.level, x.arm) == (VISITS, 0.8, "v2"))
    assert (mine.requests, mine.shorter, mine.by_a_fifth) == (400, 50, 50)
    rungs = next(x for x in whole.shorter if (x.experiment, x.arm) == (RUNGS, "v2"))
    assert rungs.shorter == 0


def test_capacity_is_of_each_version_with_the_people_it_serves_in_time(whole: Summary) -> None:
    found = whole.capacity[VISITS]
    assert found["v1"].low < 12.0 < found["v1"].high
    assert found["v2"].estimate == pytest.approx(25.0, rel=0.03)
    # V1 takes five seconds at its capacity: 80 % is the most at which 99 % are in time.
    assert (found["v1"].share, found["v1"].people) == (0.8, 288)
    assert found["v2"].share == 1.0


def test_a_quantile_needs_enough_requests() -> None:
    few = summarise(results(rounds=5))
    assert {row.measure for row in few.rows} == {"end to end p50", "first token p50", "share in time"}
    assert "end to end p95" in {row.measure for row in summarise(results(rounds=9)).rows}


def test_two_runs_pooled_have_the_rounds_of_both() -> None:
    both = summarise(pool([whole_run(5), whole_run(5, seed=1)]))
    assert median(both).rounds == 10
    assert both.claim("people").verdict == "better"
    alone = summarise(whole_run(5))
    assert alone.claim("people").verdict == "undecided"
    assert both.faults["acknowledged"] == 800


def test_rounds_without_a_partner_are_left_out() -> None:
    one_more = results(rounds=5)
    one_more.blocks.append(block(VISITS, "v1", 7, level=0.8, seconds=50.0))
    assert median(summarise(one_more)).rounds == 5
    assert summarise(Results({}, {}, [block(VISITS, "v1", 0, seconds=1.0)])).rows == ()


@pytest.fixture(scope="module")
def written() -> Any:
    """A document as it is read from a file."""
    return json.loads(json.dumps(document(whole_run(5))))


def test_the_document_obeys_its_published_schema_and_its_blocks(written: Any) -> None:
    schema = json.loads((Path(__file__).parents[2] / "backend/bench/results.schema.json").read_text())
    jsonschema.validate(written, schema)
    assert contradiction(written, from_document(written)) is None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**written, "version": 3}, schema)


def test_what_was_changed_by_hand_is_found(written: Any) -> None:
    own = summarise(from_document(written)).derived()
    shortened = next(at for at, row in enumerate(written["shorter"]) if row["shorter"])
    for place, value in (
        (("summary", 0, "ratio"), 99.0),
        (("summary", 0, "low"), -1.0),
        (("claims", 1, "verdict"), "better"),
        (("claims", 1, "p_adjusted"), 0.001),
        (("capacity", VISITS, "v1", "estimate"), 3.0),
        (("shorter", shortened, "shorter"), 0),
        (("faults", "lost"), 7.0),
    ):
        forged = json.loads(json.dumps({name: written[name] for name in own}))
        inner = forged
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        found = difference(own, forged)
        assert found is not None
        assert found.endswith(str(place[-1]))
    fewer = {name: written[name] for name in own} | {"summary": written["summary"][1:]}
    assert difference(own, fewer) == "summary"


def test_a_target_is_met_only_when_the_interval_says_so() -> None:
    target, row = CUSTOMER[0], median(summarise(results()))
    assert attainment(target, replace(row, ratio=6.0, low=5.0)) == "met"
    assert attainment(target, replace(row, ratio=6.0, low=4.0)) == "reached, not shown"
    assert attainment(target, replace(row, ratio=6.0, low=float("nan"))) == "too few rounds"
    assert attainment(target, replace(row, ratio=4.0, low=3.0)) == "missed"
    assert attainment(target, None) == "not measured"
    assert target.row(summarise(results())) == row
