"""Plans fit into their time, and one that cannot decide what it names is refused."""

from dataclasses import replace

import pytest

from bench.catalogue import DAY, EXPERIMENTS, FAULTS, LIVING, POSTGRESQL, REDIS, RUNGS, SAME, VISITS, scene
from bench.claims import CLAIMS
from bench.experiments.people import Capacity, People
from bench.experiments.turns import Turns
from bench.profiles import FULL, PROFILES, QUICK, STANDARD, Profile, on_external, on_real_weights

MINUTE = 60.0


@pytest.mark.parametrize(
    ("profile", "bound_s"), [(QUICK, MINUTE), (STANDARD, 8 * MINUTE), (FULL, 50 * MINUTE)]
)
def test_a_profile_is_planned_inside_its_bound(profile: Profile, bound_s: float) -> None:
    assert profile.budget_s < bound_s
    assert profile.planned_s <= bound_s


def test_the_full_run_has_every_experiment_of_the_synthetic_engine_and_all_claims() -> None:
    assert FULL.claims == tuple(claim.name for claim in CLAIMS)
    names = {one.name for one in FULL.experiments}
    assert names == set(EXPERIMENTS) - {"remembered"}
    levels = {level for one in FULL.experiments if one.name == VISITS for level in one.levels}
    assert levels == {0.5, 0.8, 1.0}
    assert next(one for one in FULL.experiments if one.name == LIVING).levels == (8.0, 32.0, 128.0, 512.0)


def test_the_default_decides_its_headline_and_quick_names_no_claim() -> None:
    assert STANDARD.claims == ("people", "postgresql", "redis")
    assert QUICK.claims == ()


def turns(rounds: int) -> tuple[Turns, Turns]:
    arms = ("v1", "v2")
    return Turns(POSTGRESQL, arms, rounds, 0.1, 0.1), Turns(REDIS, arms, rounds, 0.1, 0.1)


def test_a_plan_whose_rounds_cannot_decide_a_claim_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cannot decide the claim 'postgresql': with 5 rounds .* 0\.0625?"):
        Profile("five", "synthetic", 60.0, turns(5), claims=("postgresql",))
    Profile("six", "synthetic", 60.0, turns(6), claims=("postgresql",))
    with pytest.raises(ValueError, match="cannot decide"):
        Profile("six", "synthetic", 60.0, turns(6), claims=("postgresql", "redis"))
    Profile("seven", "synthetic", 60.0, turns(7), claims=("postgresql", "redis"))
    with pytest.raises(ValueError, match="nothing that could decide the claim 'day'"):
        Profile("none", "synthetic", 60.0, turns(8), claims=("day",))
    other = People(VISITS, ("v1", "v2"), (0.5,), 9, 1.0)
    with pytest.raises(ValueError, match="nothing that could decide the claim 'people'"):
        Profile("other load", "synthetic", 60.0, (other,), claims=("people",))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_every_experiment_compares_something_that_is_in_the_catalogue(profile: Profile) -> None:
    for one in profile.experiments:
        if one.name in {DAY, FAULTS, "stationary"}:
            continue
        arms = one.arms if isinstance(one, Capacity | Turns) else one.processes
        assert EXPERIMENTS[one.name].compared(arms), one.name
    assert len(profile.parts()) >= len(profile.experiments)


def test_capacities_are_measured_before_what_needs_them() -> None:
    for profile in PROFILES.values():
        names = [one.name for one in profile.experiments]
        for at, name in enumerate(names):
            if name in {VISITS, RUNGS, LIVING, SAME}:
                assert "capacity" in names[:at]
                needs = {arm.removesuffix("_again") for arm in profile.experiments[at].processes}
                if name in {VISITS, SAME}:
                    capacity = next(one for one in profile.experiments if one.name == "capacity")
                    assert needs <= set(capacity.processes)


def test_other_grounds_do_their_part_only() -> None:
    real = on_real_weights(STANDARD, "smollm2")
    assert real.engine == "smollm2"
    assert "remembered" in {one.name for one in real.experiments}
    assert len(real.experiments) == 3
    assert on_real_weights(FULL, "ollama").claims == ("people",)
    outside = on_external(FULL)
    assert set(outside.arms) == {"v1", "v2"}
    assert {one.name for one in outside.experiments} == {"capacity", VISITS, POSTGRESQL, REDIS}
    assert outside.sweep is None


def test_some_experiments_alone_decide_nothing() -> None:
    one = FULL.only((RUNGS,))
    assert [found.name for found in one.experiments] == ["capacity", RUNGS]
    assert one.claims == ()
    assert one.sweep is not None
    assert FULL.only((DAY,)).sweep is None
    with pytest.raises(ValueError, match="has no 'nothing'"):
        FULL.only(("nothing",))


def test_a_plan_is_told_in_full() -> None:
    told = STANDARD.document()
    assert told == replace(STANDARD).document()
    assert told["experiments"][0]["rounds"] == 7


def test_a_scene_says_what_its_level_is() -> None:
    assert scene(VISITS, 0.5).endswith(": 50%")
    assert scene(DAY, 3.0, "es").endswith("una fila disputada")
    assert scene("stationary", 101.0).endswith("I/O, first seconds")
    assert scene(LIVING, 512.0).endswith(": 512")
    assert ":" not in scene(REDIS, 1.0)
    assert scene("of another version") == "of another version"
