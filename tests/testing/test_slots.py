"""An engine with slots: who waits, who generates, and what a change of the slots does to them."""

from pathlib import Path

import pytest

from fluido.testing.scenario import load
from fluido.testing.slots import EngineSlots, SlotStation

TEXT = """
text = "mine"
duration_s = 10
{extra}
[[phase]]
at_s = 0
slots = {{ count = {count}, prefill_s = 0.5, decode_s = 2.0 }}
"""


def test_jobs_queue_for_slots_in_order_and_their_time_begins_with_the_prefill() -> None:
    station = SlotStation[str](EngineSlots(2, 0.5, 2.0))
    for job in "abc":
        station.enter(0.0, job, 1.0)
    ends = []
    while station.jobs:
        ends.append((station.next_end_s(), station.leave(station.next_end_s())))
    assert ends == [(2.5, "a"), (2.5, "b"), (5.0, "c")]


def test_work_stretches_the_generation_only() -> None:
    station = SlotStation[str](EngineSlots(1, 0.5, 2.0))
    station.enter(1.0, "a", 3.0)
    assert station.next_end_s() == 1.0 + 0.5 + 3.0 * 2.0


def test_fewer_slots_wait_for_generations_to_end_and_more_are_filled_at_once() -> None:
    station = SlotStation[str](EngineSlots(2, 0.5, 2.0))
    for job in "abcde":
        station.enter(0.0, job, 1.0)
    station.resize(1.0, EngineSlots(1, 0.5, 2.0))
    assert station.leave(2.5) == "a"
    assert station.next_end_s() == 2.5, "b still generates, and there is one slot"
    assert station.leave(2.5) == "b"
    assert station.next_end_s() == 5.0, "c began at 2.5"
    station.resize(3.0, EngineSlots(3, 0.5, 2.0))
    ends = []
    while station.jobs:
        ends.append((station.next_end_s(), station.leave(station.next_end_s())))
    assert ends == [(5.0, "c"), (5.5, "d"), (5.5, "e")], "d and e began at once"


@pytest.mark.parametrize(("count", "extra"), [(0, ""), (2, "noise = 0.1"), (2, "timeout_s = 1.0")])
def test_a_scenario_with_impossible_slots_is_refused(count: int, extra: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.format(count=count, extra=extra))
    with pytest.raises(ValueError, match=r"mine\.toml: .*slots"):
        load(path)
