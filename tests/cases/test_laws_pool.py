"""A pool on a server of behaviour, in virtual time: cold starts, other work, restarts; nobody is worse off."""

import json
from pathlib import Path

import pytest

from fluido import Fixed, Ladder, Limiter, Sample
from fluido.flow.memory import recalled
from fluido.laws.rungs import Memory
from fluido.testing.runner import FOLDER, play
from fluido.testing.scenario import load
from tests.sqlalchemy.fake_driver import FakeDriver

pytestmark = pytest.mark.anyio


def calls(law: Ladder, now_s: float, count: int, *, inside: int, every_s: float, label: str = "a") -> float:
    """So many calls, one after the other, with that many in flight as each started."""
    for _ in range(count):
        now_s += every_s
        law.observe(Sample(label, now_s - 0.05, now_s, 0.0, inside, law.value))
    return now_s


def test_other_work_brings_the_reference_back_also_where_nothing_binds() -> None:
    """96 in flight were right for waits; on hot rows they ran for seconds, because 85 of 96 bind nothing."""
    law = Ladder(start=15, ceiling=96, remembered=Memory(96.0, 15.0))
    law._lead(len(law._rungs) - 1, None)
    law._leap = None
    now_s = calls(law, 10.0, 2000, inside=60, every_s=0.0005)
    assert law.value == 96
    calls(law, now_s, 2000, inside=60, every_s=0.0005, label="update hot")
    assert (law.limit, law._decision.reason) == (15, "other_work")


def test_a_silence_is_no_part_of_a_slot() -> None:
    """Two phases with three seconds between them: the first slot after it was three seconds long."""
    law = Ladder(start=15, ceiling=96)
    now_s = calls(law, 10.0, 4000, inside=4, every_s=0.001)
    calls(law, now_s + 3.0, 2000, inside=4, every_s=0.001)
    assert law._pace.slot_s < 0.5
    assert law._pace.call_rate > 500


def test_while_a_higher_limit_is_tried_the_law_is_told_of_every_call() -> None:
    """Nine in flight of 29 looked like silence, silence like a collapse, and 8 was tried: a queue of 30."""
    limiter = Limiter(Ladder(start=15, ceiling=96), name="db", max_waiting=10)
    assert not limiter.probing
    now_s = 0.0
    while limiter.gate.limit <= 15:
        now_s += 0.01
        limiter.learn(Sample("a", now_s - 0.2, now_s, 0.1, 15, limiter.gate.limit))
    assert limiter.probing
    assert not Limiter(Fixed(4), name="db", max_waiting=1).probing
    assert "limiter.probing" in _names(_timed)


def _names(function: object) -> set[str]:
    code = function.__code__  # type: ignore[attr-defined]
    return {f"limiter.{name}" for name in code.co_names}


def test_statements_that_run_while_connections_are_opened_have_no_limit_of_ours() -> None:
    pool = FakeDriver().pool(max=9)
    pool.gate.opening = 1
    law = Ladder(start=15, ceiling=96)
    now_s = 10.0
    for _ in range(3000):
        now_s += 0.001
        law.observe(Sample("a", now_s - 0.01, now_s, 0.0, 15, 0.0))
    assert (law.limit, law.value) == (15, 15.0)


@pytest.mark.parametrize(("name", "figure", "least"), [
    ("no_harm_restart", "restart_ratio", 4.0),
    ("no_harm_memory", "restart_ratio", 0.9),
])  # fmt: skip
def test_a_restart_goes_on_and_a_memory_of_a_better_server_does_no_harm(
    name: str, figure: str, least: float
) -> None:
    found = play(load(FOLDER / f"{name}.toml"), "fluido.laws.ladder:Ladder", 1, short=True, keep_trace=False)
    assert found.figures[figure] >= least


async def test_a_pool_saves_what_it_learned_and_the_next_one_begins_with_it(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    first = FakeDriver().pool(max=96, memory=path, pool_logging_name="orders")
    assert isinstance(first.law, Ladder)
    first.law._lead(first.law._nearest(57), None)
    first.dispose()
    assert json.loads(path.read_text())["what"] == "fluido limits"
    assert recalled(path, "orders") == Memory(57.0, 15.0)
    second = FakeDriver().pool(max=96, memory=path, pool_logging_name="orders")
    assert isinstance(second.law, Ladder)
    assert (second.gate.wanted, second.law.memory().limit) == (15.0, 57.0)
    again = second.recreate()
    assert again.limiter.kept is second.limiter.kept
