import random

import pytest

from fluido.llm.knee import Knee
from fluido.sample import Outcome, Sample


def call(law: Knee, service_s: float, inflight: int | None = None, **more: object) -> None:
    inflight = int(law.value) if inflight is None else inflight
    values = {"label": "", "started_s": 0.0, "finished_s": service_s, "wait_s": 1.0, "units": 100.0}
    law.observe(Sample(inflight=inflight, limit=law.value, **{**values, **more}))


def drive(law: Knee, throughput, calls: int = 2000, noise=lambda _: 1.0) -> list[int]:
    """`throughput(n)` is work per second with n in flight."""
    values = []
    for number in range(calls):
        limit = int(law.value)
        call(law, 100.0 * limit / throughput(limit) * noise(number))
        values.append(int(law.value))
    return values


def test_a_processor_gains_nothing_and_stays_at_one() -> None:
    values = drive(Knee(4), lambda _: 100.0)
    assert sum(value == 1 for value in values) > 0.85 * len(values)
    assert max(values) == 2


def test_a_gpu_is_given_all_its_slots() -> None:
    values = drive(Knee(4), lambda n: 100.0 * n**0.9)
    assert 4 in values[:120]
    assert sum(value == 4 for value in values[200:]) > 0.9 * len(values[200:])


def test_the_knee_in_between_is_found() -> None:
    values = drive(Knee(8), lambda n: 100.0 * min(n, 3))
    assert sum(value == 3 for value in values[300:]) > 0.7 * len(values[300:])


def test_a_knee_that_moves_down_is_followed() -> None:
    law = Knee(4)
    drive(law, lambda n: 100.0 * n)
    assert law.value == 4
    values = drive(law, lambda _: 100.0, calls=4000)
    assert values[-1] <= 2


def test_noise_of_a_third_does_not_fool_it() -> None:
    wobble = [0.7, 1.3, 1.0, 0.8, 1.2]
    values = drive(Knee(4), lambda _: 100.0, noise=lambda n: wobble[n % 5])
    assert sum(value == 1 for value in values) > 0.8 * len(values)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_hidden_slots_are_found_within_thirty_calls(slots: int) -> None:
    """In flight beyond its slots, a call waits inside the engine: the station calls that overload."""
    law = Knee(None, elasticity=None)
    for _ in range(30):
        limit = int(law.value)
        call(law, 1.0, outcome=Outcome.OVERLOAD if limit > slots else Outcome.OK)
    assert law.value == pytest.approx(slots, abs=1)
    assert law.found_slots == slots


def test_what_does_not_bind_teaches_nothing() -> None:
    law = Knee(4)
    before = law.observe(Sample("", 0.0, 1.0, 0.0, 1, 4.0))
    drive(law, lambda n: 100.0 * n, calls=200)
    for _ in range(100):
        call(law, 1.0, inflight=1, wait_s=0.0)
        call(law, 1.0, outcome=Outcome.IGNORED)
    assert before.value == 1
    assert law.value == 4


def test_the_engines_own_refusals_lower_the_limit() -> None:
    law = Knee(4)
    drive(law, lambda n: 100.0 * n, calls=300)
    call(law, 1.0, outcome=Outcome.OVERLOAD)
    call(law, 1.0, outcome=Outcome.OVERLOAD)
    assert law.value == 3
    assert law.observe(Sample("", 0.0, 0.0, 0.0, 1, 1.0)).reason == "engine_queue"


def test_an_engine_has_a_slot() -> None:
    with pytest.raises(ValueError, match="slot"):
        Knee(0)


def test_calls_that_ran_alone_for_half_of_their_time_do_not_make_two_look_better() -> None:
    """The server is a processor: two that overlap for half of their time take a quarter longer, not twice."""
    law = Knee(4)
    for number in range(4000):
        limit = int(law.value)
        together = 1.0 if number % 3 == 0 else 0.5  # share of the time with all of the limit in flight
        mean = 1.0 + (limit - 1.0) * together
        call(law, mean, inflight=limit, wait_s=float(number % 2), mean_inflight=mean)
        assert law.value <= 2


def test_a_probe_that_the_demand_does_not_fill_is_given_up() -> None:
    law = Knee(4)
    for _ in range(40):
        call(law, 1.0)
        if law.value == 2:
            break
    for _ in range(64):
        call(law, 1.0, inflight=1, mean_inflight=1.0)
    assert law.value == 1
    assert law.observe(Sample("", 0.0, 0.0, 0.0, 1, 1.0)).reason == "demand_ends"


def test_where_nobody_waits_no_more_are_let_in() -> None:
    law = Knee(4)
    for _ in range(500):
        call(law, 1.0, wait_s=0.0)
    assert law.value == 1


def test_noisy_calls_of_a_processor_seldom_look_like_a_gain() -> None:
    """Service per unit scatters by half; work shared by two takes twice as long."""
    above = 0
    for seed in range(20):
        source = random.Random(seed)
        law = Knee(4)
        values = drive(law, lambda _: 100.0, calls=600, noise=lambda _, s=source: s.lognormvariate(0.0, 0.5))
        above += sum(value > 2 for value in values)
        assert sum(value == 1 for value in values) > 0.6 * len(values)
    assert above < 0.02 * 20 * 600


def test_a_machine_that_is_slow_for_a_while_does_not_move_it() -> None:
    """Sixty calls at twice the time, sixty as usual: a limit tried in one stretch would look wonderful."""
    above = 0
    for seed in range(20):
        source = random.Random(seed)

        def noise(number: int, s: random.Random = source, shift: int = 7 * seed) -> float:
            slow = 2.0 if (number + shift) // 60 % 2 else 1.0
            return slow * s.lognormvariate(0.0, 0.4)

        values = drive(Knee(4), lambda _: 100.0, calls=1200, noise=noise)
        above += sum(value > 2 for value in values)
    assert above < 0.02 * 20 * 1200


def test_a_limit_at_its_ceiling_is_asked_again() -> None:
    law = Knee(2)
    assert drive(law, lambda n: 100.0 * n, calls=300)[-1] == 2
    assert drive(law, lambda _: 100.0, calls=2500)[-1] == 1
