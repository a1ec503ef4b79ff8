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


def test_jobs_queue_for_slots_in_order_and_the_first_token_follows_the_prefill() -> None:
    first_tokens: list[tuple[str, float]] = []
    station = SlotStation[str](EngineSlots(2, 0.5, 2.0), lambda job, at_s: first_tokens.append((job, at_s)))
    for job in "abc":
        station.enter(0.0, job, 1.0)
    assert first_tokens == [("a", 0.5), ("b", 0.5)]
    assert station.next_end_s() == 2.5
    assert station.leave(2.5) == "a"
    assert first_tokens[-1] == ("c", 3.0)
    assert station.jobs == 2


def test_fewer_slots_wait_for_generations_to_end_and_more_are_filled_at_once() -> None:
    begun: list[str] = []
    station = SlotStation[str](EngineSlots(2, 0.5, 2.0), lambda job, _: begun.append(job))
    for job in "abcde":
        station.enter(0.0, job, 1.0)
    station.resize(1.0, EngineSlots(1, 0.5, 2.0))
    station.leave(2.5)
    assert begun == ["a", "b"], "b still generates, and there is one slot"
    station.leave(2.5)
    assert begun == ["a", "b", "c"]
    station.resize(3.0, EngineSlots(3, 0.5, 2.0))
    assert begun == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(("count", "extra"), [(0, ""), (2, "noise = 0.1"), (2, "timeout_s = 1.0")])
def test_a_scenario_with_impossible_slots_is_refused(count: int, extra: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.format(count=count, extra=extra))
    with pytest.raises(ValueError, match=r"mine\.toml: .*slots"):
        load(path)
