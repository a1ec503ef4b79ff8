"""From samples to verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from bench.catalogue import SAME_CODE
from bench.claims import CUSTOMER, Claim, attainment, claims, power
from bench.samples import Results, to_document
from bench.statistics import Verdict

from .builders import chat_block, results


def by_measure(found: list[Claim]) -> dict[str, Claim]:
    return {claim.measure.name: claim for claim in found}


def test_a_faster_arm_is_better_by_its_factor_and_warm_up_does_not_count() -> None:
    found = by_measure(claims(results(speed=3.0)))
    total = found["end to end p50"]
    assert total.verdict is Verdict.BETTER
    assert total.comparison.ratio == pytest.approx(3.0, rel=0.1)
    assert total.comparison.low < 3.0 < total.comparison.high
    assert found["first token p50"].verdict is Verdict.BETTER
    assert total.control_counts.output_tokens == 24


def test_the_same_code_twice_is_undecided_everywhere() -> None:
    same = results(speed=1.0)
    assert {claim.verdict for claim in claims(same)} == {Verdict.UNDECIDED}


def test_an_arm_that_refuses_is_not_called_better_however_fast() -> None:
    found = by_measure(claims(results(speed=3.0, lost=2)))
    total = found["end to end p50"]
    assert total.comparison.low > 2
    assert total.verdict is Verdict.UNDECIDED
    assert total.treatment_counts.refused == 18


def test_the_same_code_has_its_own_pairs_and_family() -> None:
    made = results(rounds=0)
    for number in range(9):
        for arm in ("v1", "v1_again", "v2", "v2_again"):
            scale = 1.0 if arm.startswith("v1") else 0.3
            made.blocks.append(replace(chat_block(arm, number, scale), experiment=SAME_CODE))
    found = claims(made)
    assert {(claim.control, claim.treatment) for claim in found} == {("v1", "v1_again"), ("v2", "v2_again")}
    assert {claim.verdict for claim in found} == {Verdict.UNDECIDED}
    assert {claim.row()["family"] for claim in found} == {SAME_CODE}


def test_the_run_says_how_large_an_effect_it_could_have_seen() -> None:
    found = power(claims(results()))
    assert 1.0 < found["median"] <= found["largest"] < 2.0
    assert found["claims"] == 2
    assert "returning users at 90%" in found["largest_claim"]
    assert power(claims(results(rounds=2)))["largest_claim"] == ""


def test_rounds_without_a_partner_are_left_out() -> None:
    one_more = results(rounds=5)
    one_more.blocks.append(chat_block("v1", 7, 50.0))
    assert by_measure(claims(one_more))["end to end p50"].comparison.blocks == 5
    assert claims(Results({}, {}, [chat_block("v1", 0, 1.0)])) == []


def test_the_document_obeys_its_published_schema() -> None:
    made = results(rounds=2)
    document = to_document(made, summary=[claim.row() for claim in claims(made)])
    schema = json.loads((Path(__file__).parents[2] / "backend/bench/results.schema.json").read_text())
    jsonschema.validate(json.loads(json.dumps(document)), schema)
    broken = {**document, "version": 1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_a_target_is_met_only_when_the_interval_says_so() -> None:
    target = CUSTOMER[0]
    row = {"ratio": 6.0, "low": 5.0, "verdict": "better"}
    assert attainment(target, row) == "met"
    assert attainment(target, {**row, "low": 4.0}) == "reached, not shown"
    assert attainment(target, {**row, "low": None, "verdict": "undecided"}) == "too few blocks"
    assert attainment(target, {**row, "verdict": "undecided"}) == "reached, not shown"
    assert attainment(target, {**row, "ratio": 4.0, "low": 3.0}) == "missed"
    assert attainment(target, {}) == "not measured"
