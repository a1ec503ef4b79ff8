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
