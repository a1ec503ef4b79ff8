"""Plans fit into their time."""

import pytest

from bench.catalogue import EXPERIMENTS, LEVERS, SAME_CODE, scene
from bench.profiles import BENCH, FULL, PROFILES, QUICK, STANDARD, Profile, on_external, on_ollama, scaled
from bench.schedule import planned_s, schedule

MINUTE = 60.0


@pytest.mark.parametrize(
    ("profile", "bound_s"),
    [(QUICK, MINUTE), (BENCH, 3 * MINUTE), (STANDARD, 6 * MINUTE), (FULL, 40 * MINUTE)],
)
def test_a_profile_is_planned_inside_its_bound(profile: Profile, bound_s: float) -> None:
    assert profile.budget_s < bound_s
    assert planned_s(profile) <= bound_s


def test_the_full_run_has_all_arms_loads_and_the_same_code_twice() -> None:
    levels = {level for chat in FULL.chats if chat.experiment == "returning_users" for level in chat.levels}
    assert levels == {0.5, 0.8, 0.9, 1.0, 1.2}
    assert set(FULL.arms) >= {"v1", "v1_tuned", "fixed", "v2", "v1_again", "v2_again"}
    assert SAME_CODE in {chat.experiment for chat in FULL.chats}
    assert "append" not in FULL.arms


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_every_experiment_is_in_the_catalogue_with_its_control(profile: Profile) -> None:
    for chat in profile.chats:
        assert EXPERIMENTS[chat.experiment].compared(chat.arms)
    assert {name for name, _ in profile.components.parts} <= set(EXPERIMENTS)
    assert len(schedule(profile)) >= 2 + len(profile.chats)


def test_a_scaled_profile_keeps_every_part() -> None:
    small = scaled(FULL, 0.1)
    assert [chat.experiment for chat in small.chats] == [chat.experiment for chat in FULL.chats]
    assert planned_s(small) < planned_s(FULL) / 5


def test_other_grounds_do_their_part_only() -> None:
    assert set(on_ollama(FULL).arms) == {"v1", "naive", "v2"}
    for profile in PROFILES.values():
        assert planned_s(on_ollama(profile)) <= on_ollama(profile).budget_s
    outside = on_external(FULL)
    assert set(outside.arms) == {"v1", "v2"}
    assert not outside.components.parts
    assert LEVERS not in {chat.experiment for chat in outside.chats}


def test_a_scene_has_a_load_only_where_it_is_a_share_of_a_capacity() -> None:
    assert scene("returning_users", 0.5, 0.9) == "returning users at 50%, 90%"
    assert scene("postgresql_turn", 1.0) == "postgresql turn"
    assert scene("fairness", 1.0) == "fairness"
    assert scene("of another version", 0.9) == "of another version at 90%"
