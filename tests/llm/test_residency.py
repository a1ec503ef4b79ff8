import random
from dataclasses import replace

from fluido.llm._call import Message
from fluido.llm.admission._residency import Residency
from fluido.llm.prompt._prefix import Prefix

SYSTEM = Message("system", "s" * 40)


def talk(name: str, turns: int) -> Prefix:
    messages = [SYSTEM]
    for turn in range(turns):
        messages += [Message("user", f"{name}{turn}" * 20), Message("assistant", f"{name}{turn}" * 20)]
    messages.append(Message("user", f"{name}{turns}" * 20))
    return Prefix.of(tuple(messages), [len(m.content) for m in messages])


def serve(index: Residency, prefix: Prefix, busy: tuple[int, ...] = ()):
    place = index.place(prefix, busy)
    index.served(place.slot, prefix)
    return place


def test_pinned_conversations_in_turn_keep_their_slots() -> None:
    index = Residency(4, pins=True)
    for turn in range(3):
        places = [serve(index, talk(name, turn)) for name in "abcd"]
        assert {place.slot for place in places} == {0, 1, 2, 3}
        if turn:
            assert all(place.warm for place in places)


def test_unpinned_engines_are_modelled_as_they_behave() -> None:
    """The free slot with the longest common beginning: with one system prompt that is somebody else's."""
    index = Residency(4, pins=False)
    for _ in range(3):
        assert {serve(index, talk(name, 0)).slot for name in "abcd"} == {0}


def test_the_least_recently_used_slot_is_given_away() -> None:
    index = Residency(2, pins=True)
    serve(index, talk("a", 0))
    serve(index, talk("b", 0))
    serve(index, talk("a", 1))
    assert serve(index, talk("c", 0)).slot == 1
    assert serve(index, talk("a", 2)).warm


def test_a_slot_that_somebody_waits_for_is_given_away_last() -> None:
    index = Residency(2, pins=True)
    serve(index, talk("a", 0))
    serve(index, talk("b", 0))
    claim = index.claim(talk("a", 1))
    assert claim == 0
    assert serve(index, talk("c", 0)).slot == 1
    index.unclaim(claim)
    assert serve(index, talk("d", 0)).slot == 0


def test_a_busy_slot_is_never_chosen() -> None:
    index = Residency(2, pins=True)
    serve(index, talk("a", 0))
    assert index.place(talk("a", 1), {0}).slot == 1


def test_a_conversation_that_was_cut_takes_its_own_slot_and_nobody_elses() -> None:
    index = Residency(3, pins=True)
    places = {name: serve(index, replace(talk(name, 2), conversation=name)) for name in "abc"}
    cut = replace(talk("b cut", 1), conversation="b")
    assert index.place(cut, ()).slot == places["b"].slot


def test_nobody_claims_a_system_prompt() -> None:
    index = Residency(1, pins=True)
    serve(index, talk("a", 0))
    assert index.claim(talk("b", 0)) is None
    index.unclaim(None)


def test_after_a_restart_nothing_is_found() -> None:
    index = Residency(2, pins=True)
    serve(index, talk("a", 0))
    assert index.lookup(talk("a", 1)).warm
    index.clear()
    assert index.lookup(talk("a", 1)).cached_tokens == 0


def test_a_failed_call_leaves_nothing_to_rely_on() -> None:
    index = Residency(1, pins=True)
    place = serve(index, talk("a", 0))
    index.lost(place.slot)
    assert not index.lookup(talk("a", 1)).warm


def test_a_conversation_whose_reader_left_is_left_to_the_engine() -> None:
    """Which slot its call had, and how far it came there, only the engine knows; others hold nothing."""
    for busy in ((), (0, 1)):
        index = Residency(2, pins=True)
        index.lost(index.place(talk("a", 0), busy).slot, talk("a", 0))
        assert index.place(talk("a", 1), ()).slot == -1
        index.found_in(0, talk("a", 1))
        assert index.place(talk("a", 2), ()).slot == 0


def test_a_refused_call_leaves_in_the_slot_what_was_there() -> None:
    index = Residency(1, pins=True)
    serve(index, talk("a", 0))
    index.untouched(index.place(talk("b", 0), ()).slot)
    assert index.place(talk("a", 1), ()).warm


def test_a_tier_behind_the_slots_is_believed_before_it_was_seen() -> None:
    """Who is not believed is cut, and what is cut is never found: nobody would ever learn better."""
    index = Residency(1, pins=True)
    serve(index, talk("a", 3))
    serve(index, talk("b", 0))
    assert index.lookup(talk("a", 4)).cached_tokens > 0.9 * talk("a", 3).tokens[-3]


def test_a_tier_behind_the_slots_stays_believed_while_it_is_seen() -> None:
    index = Residency(1, pins=True)
    for turn in range(8):
        for name in "ab":
            prefix = talk(name, turn)
            place = index.place(prefix, ())
            found = prefix.tokens[-3] if turn else 0
            index.served(place.slot, prefix)
            index.learn(place, found)
    assert index.lookup(talk("a", 8)).cached_tokens > 0.5 * talk("a", 8).tokens[-3]


def test_an_engine_without_that_tier_is_not_credited() -> None:
    index = Residency(1, pins=True)
    for turn in range(8):
        for name in "ab":
            prefix = talk(name, turn)
            place = index.place(prefix, ())
            index.served(place.slot, prefix)
            index.learn(place, 40)
    assert index.lookup(talk("a", 8)).cached_tokens < 0.3 * talk("a", 8).tokens[-3]


def test_memory_is_bounded() -> None:
    index = Residency(2, pins=True)
    for number in range(2000):
        serve(index, talk(str(number), 1))
    assert len(index._second) <= 256


def test_more_conversations_than_slots_in_turn_still_find_some_of_theirs() -> None:
    """Least recently used would find next to nothing: who was served last comes back last."""
    index = Residency(4, pins=True)
    source, warm, asked = random.Random(1), 0, 0
    for turn in range(40):
        people = list("abcdefgh")
        source.shuffle(people)
        for name in people:
            place = serve(index, talk(name, turn))
            asked += turn >= 10
            warm += turn >= 10 and place.warm
    assert warm / asked > 0.38
