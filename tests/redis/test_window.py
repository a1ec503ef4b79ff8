from fluido.redis.window import DeliveryWindow
from fluido.sample import Outcome, Sample

STEP_S = 0.02


def feed(
    window: DeliveryWindow,
    seconds: float,
    *,
    rate: float,
    round_trip_s: float,
    inflight: int,
    start_s: float = 0.0,
) -> float:
    """Traffic of one kind; returns when it ended."""
    now_s = start_s
    for _ in range(round(seconds / STEP_S)):
        now_s += STEP_S
        window.observe(
            Sample("", now_s - round_trip_s, now_s, 0.0, inflight, window.value, Outcome.OK, rate * STEP_S)
        )
    return now_s


def test_without_evidence_nothing_is_bound() -> None:
    window = DeliveryWindow(floor=512, ceiling=16_384)
    assert window.value == 16_384
    feed(window, 0.5, rate=1e5, round_trip_s=1e-4, inflight=8)
    assert window.value == 16_384


def test_a_near_server_with_few_callers_gets_the_floor() -> None:
    window = DeliveryWindow(floor=512, ceiling=16_384)
    feed(window, 3, rate=1e5, round_trip_s=1e-4, inflight=8)
    assert window.value == 512
    assert window.observe(Sample("", 2.99, 3.1, 0.0, 8, 512, Outcome.OK, 1e4)).reason == "floor"


def test_a_far_server_gets_twice_rate_times_round_trip() -> None:
    window = DeliveryWindow(floor=512, ceiling=16_384)
    feed(window, 3, rate=1e5, round_trip_s=0.02, inflight=100)
    assert 3500 < window.value <= 4400  # 2 x 100,000 x 0.02, known to a tenth


def test_a_load_that_stays_is_let_through() -> None:
    window = DeliveryWindow(floor=512, ceiling=16_384)
    end_s = feed(window, 2, rate=1e5, round_trip_s=1e-4, inflight=8)
    assert window.value == 512
    for _ in range(60):  # a thousand callers want to be in, the window lets in what it holds
        inflight = int(min(1000, window.value))
        end_s = feed(window, 0.1, rate=1e5, round_trip_s=1e-4, inflight=inflight, start_s=end_s)
    assert window.value >= 1000


def test_the_ceiling_holds() -> None:
    window = DeliveryWindow(floor=1, ceiling=1000)
    feed(window, 3, rate=1e6, round_trip_s=0.1, inflight=1000)
    assert window.value == 1000
    assert window.tick(99.0).value == 1000


def test_a_least_round_trip_is_forgotten() -> None:
    window = DeliveryWindow(floor=1, ceiling=100_000)
    end_s = feed(window, 5, rate=1e4, round_trip_s=0.001, inflight=1)
    near = window.value
    feed(window, 25, rate=1e4, round_trip_s=0.1, inflight=1, start_s=end_s)
    assert window.value > 20 * near


def test_a_window_without_room_to_move_stands_still() -> None:
    window = DeliveryWindow(floor=64, ceiling=64)
    feed(window, 3, rate=1e5, round_trip_s=0.1, inflight=64)
    assert window.value == 64
