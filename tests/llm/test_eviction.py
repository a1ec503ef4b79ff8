import random

from fluido.llm.admission._residency import Eviction


def drive(eviction: Eviction, calls: list[int]) -> None:
    for call in calls:
        eviction.saw(call)


def test_people_who_go_on_talking_keep_their_slots() -> None:
    eviction, source = Eviction(4), random.Random(1)
    calls = []
    for start in range(200):
        calls += [source.randrange(start, start + 4) for _ in range(6)]
    drive(eviction, calls)
    assert not eviction.newest_goes


def test_a_circle_longer_than_the_slots_leaves_most_of_them_alone() -> None:
    eviction = Eviction(4)
    drive(eviction, [n % 5 for n in range(200)])
    assert eviction.newest_goes


def test_shuffled_rounds_are_a_circle_too() -> None:
    eviction, source = Eviction(4), random.Random(1)
    calls = []
    for _ in range(40):
        people = list(range(8))
        source.shuffle(people)
        calls += people
    drive(eviction, calls)
    assert eviction.newest_goes


def test_when_the_world_changes_so_does_the_policy() -> None:
    eviction = Eviction(4)
    drive(eviction, [n % 5 for n in range(200)])
    drive(eviction, [start + n % 2 for start in range(300) for n in range(4)])
    assert not eviction.newest_goes


def test_enough_slots_change_nothing() -> None:
    eviction = Eviction(4)
    drive(eviction, [n % 3 for n in range(500)])
    assert not eviction.newest_goes
