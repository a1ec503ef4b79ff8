"""A pool on a server of behaviour, in virtual time: cold starts, other work, restarts; nobody loses."""

import json
from pathlib import Path

import pytest

from fluido import Fixed, Ladder, Limiter, Sample
from fluido.flow._memory import recalled
from fluido.laws._leap import Leap
from fluido.laws._rungs import Memory
from fluido.sqlalchemy._hold import Hold
from fluido.sqlalchemy._statements import _timed
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
    law._lead(len(law.place.rungs) - 1, None)
    law._leap = None
    now_s = calls(law, 10.0, 2000, inside=60, every_s=0.0005)
    assert law.value == 96
    reasons = set()
    for _ in range(40):
        now_s = calls(law, now_s, 50, inside=60, every_s=0.0005, label="update hot")
        reasons.add(law._decision.reason)
    assert law.limit == 15
    assert "other_work" in reasons


def test_other_work_is_seen_before_a_long_slot_ends() -> None:
    """Hot rows after I/O: slots of 96 in flight lasted three seconds there, all of them at 96."""
    law = Ladder(start=15, ceiling=96)
    law._lead(len(law.place.rungs) - 1, None)
    law._leap = None
    began_s = now_s = calls(law, 10.0, 6000, inside=96, every_s=0.0002)
    now_s = calls(law, now_s, 60, inside=96, every_s=0.004)  # the old ones drain slowly
    while law.limit != 15 and now_s < began_s + 10.0:
        now_s = calls(law, now_s, 1, inside=96, every_s=0.004, label="update hot")
    assert now_s < began_s + 2.0, "it was 3.6"


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
    pool = FakeDriver().pool(max=96)
    pool.gate.inflight = 9
    hold = Hold(pool.limiter, pool.gate)
    for pool.limiter.probing, spared in ((True, 0), (False, 1)):
        pool.gate.resize(29)
        _timed(hold, "SELECT 1", None, lambda: None)
        assert len(pool.limiter._unbound) == spared


def test_a_stretch_in_which_connections_are_opened_teaches_nothing() -> None:
    """Their statements have no limit of ours: opening costs both sides more than any limit does."""
    pool = FakeDriver().pool(max=9)
    pool.gate.opening = 1
    seen: list[Sample] = []
    pool.limiter.learn = seen.append  # type: ignore[method-assign]
    pool.gate.inflight = 9
    _timed(Hold(pool.limiter, pool.gate), "SELECT 1", None, lambda: None)
    assert [sample.limit for sample in seen] == [0.0]
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
    found = play(load(FOLDER / f"{name}.toml"), "fluido.laws:Ladder", 1, short=True, keep_trace=False)
    assert found.figures[figure] >= least


async def test_a_pool_saves_what_it_learned_and_the_next_one_begins_with_it(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    first = FakeDriver().pool(max=96, memory=path, logging_name="orders")
    assert isinstance(first.law, Ladder)
    first.law._lead(first.law.place.nearest(57), None)
    first.dispose()
    assert json.loads(path.read_text())["what"] == "fluido limits"
    assert recalled(path, "orders") == Memory(57.0, 15.0)
    second = FakeDriver().pool(max=96, memory=path, logging_name="orders")
    assert isinstance(second.law, Ladder)
    assert (second.gate.wanted, second.law.memory().limit) == (15.0, 57.0)
    again = second.recreate()
    assert again.limiter.kept is second.limiter.kept


def test_what_the_pairs_said_outlives_a_moment_in_which_the_server_stood_still() -> None:
    """Rates of hot rows wander by a quarter: shifts forgot thrice in ten seconds what was known."""
    law = Ladder(start=15, ceiling=96)
    law._pairs.about(3).add(-0.2)
    known = dict(law._pairs.evidence)
    law._leap = leap = Leap(law.place, law._meter, -1, shift=True, turned=True, evidence=known)
    law._pairs.forget()
    leap.turn_back()
    law._end_leap(leap)
    assert leap.is_over
    assert law._pairs.evidence[3].mean == pytest.approx(-0.2)
