"""The limit doubles while callers wait and nothing moves, and comes back once it does."""

from fluido.laws._standstill import Standstill


def look(
    law: Standstill,
    now_s: float,
    *,
    moved: int = 0,
    waiting: int = 1,
    service_s: float = 0.0,
    room: bool = True,
) -> float:
    return law.look(now_s, moved=moved, waiting=waiting, service_s=service_s, room=room).value


def test_doubles_again_and_again_while_nothing_moves() -> None:
    law = Standstill()
    assert [look(law, 0.1 * step) for step in range(8)] == [1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 8.0]


def test_waits_for_several_service_times() -> None:
    law = Standstill()
    look(law, 0.0, service_s=1.0)
    assert look(law, 7.9, service_s=1.0) == 1.0
    assert look(law, 8.0, service_s=1.0) == 2.0
    decision = law.look(8.1, moved=0, waiting=3, service_s=1.0, room=True)
    assert decision.reason == "standstill"
    assert decision.inputs["stood_s"] == 8.0


def test_does_nothing_while_calls_complete_or_nobody_waits_or_nothing_would_help() -> None:
    law = Standstill()
    assert {look(law, 0.1 * step, moved=step) for step in range(50)} == {1.0}
    assert {look(law, 10 + 0.1 * step, waiting=0) for step in range(50)} == {1.0}
    assert {look(law, 20 + 0.1 * step, room=False) for step in range(50)} == {1.0}


def test_comes_back_by_halves_and_not_at_once() -> None:
    law = Standstill()
    for step in range(5):
        look(law, 0.25 * step)
    assert law.value == 16.0
    factors = [look(law, 1.0 + 0.1 * step, moved=step) for step in range(60)]
    assert factors[0] == 16.0, "they may stand again in a moment"
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] == 1.0


def test_a_refusal_of_the_server_ends_the_help_at_once() -> None:
    law = Standstill()
    look(law, 0.0)
    look(law, 1.0)
    assert law.refused().value == 1.0
    assert law.refused().reason == "refused"


def test_time_in_which_nobody_looked_and_clocks_that_jump_say_nothing() -> None:
    law = Standstill()
    look(law, 0.0)
    law.rest()
    assert look(law, 100.0) == 1.0
    assert look(law, 50.0) == 1.0
    assert look(law, 50.1) == 1.0
