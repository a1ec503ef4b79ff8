"""When those who were refused are told to come back."""

from fluido.gateway._flow import LATEST_S, Promises


def test_who_is_refused_comes_back_one_after_the_other() -> None:
    promises = Promises()
    assert [promises.next_s(10.0, 2.0, 0.5) for _ in range(4)] == [2.0, 2.5, 3.0, 3.5]


def test_a_promise_that_has_passed_is_forgotten() -> None:
    promises = Promises()
    promises.next_s(10.0, 2.0, 0.5)
    assert promises.next_s(100.0, 1.0, 0.5) == 1.0
    assert promises.next_s(101.2, -3.0, 0.5) >= 0.0


def test_nobody_is_told_to_wait_for_longer_than_clients_obey() -> None:
    promises = Promises()
    assert max(promises.next_s(0.0, 5.0, 1.0) for _ in range(1000)) == LATEST_S
