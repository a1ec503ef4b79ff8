import math

import pytest

from app.cache.entry import Entry


def test_an_entry_survives_packing() -> None:
    entry = Entry({"user": "María", "turns": [1, 2.5, None, True]}, 100.0, 0.25)
    assert Entry.unpack(entry.pack()) == entry


@pytest.mark.parametrize("packed", [b"", b"nonsense", b"3", b"[1,2]", b'["x",0,1]', b'{"v":1}', b"\xff"])
def test_what_is_not_an_entry_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # three kinds of ValueError, one answer
        Entry.unpack(packed)


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, b"bytes"])
def test_what_json_does_not_know_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Entry(value, 1.0).pack()


def test_an_entry_is_fresh_until_its_end() -> None:
    assert Entry(1, 100.0).fresh(99.9)
    assert not Entry(1, 100.0).fresh(100.0)


def test_costly_values_are_recomputed_earlier() -> None:
    # A chance of 1/e goes early by exactly the cost.
    chance = math.exp(-1)
    assert not Entry(1, 100.0, cost_s=2.0).due_early(97.9, chance, 1.0)
    assert Entry(1, 100.0, cost_s=2.0).due_early(98.0, chance, 1.0)
    assert Entry(1, 100.0, cost_s=2.0).due_early(96.0, chance, 2.0)
    assert not Entry(1, 100.0, cost_s=2.0).due_early(99.9, chance, 0.0)
    assert not Entry(1, 100.0, cost_s=0.0).due_early(99.9, 1e-300, 1.0)
