"""The simulated server against queueing theory."""

import asyncio
import math
import random

import pytest

from fluido.testing.curve import Curve, best_static, throughput
from fluido.testing.server import SimulatedServer, Station
from fluido.testing.virtual_loop import VirtualLoop


def test_a_knee_rises_to_its_cores_and_falls_behind() -> None:
    curve = Curve.knee(4, 0.010, retrograde=0.5)
    assert [curve(jobs) for jobs in (0, 1, 4)] == [0, 100, 400]
    assert curve(8) == pytest.approx(400 / 1.5)
    soft = Curve.knee(4, 0.010, softness=0.8)
    assert all(soft(n) < soft(n + 1) < 400 for n in range(1, 100))


def test_a_curve_goes_through_its_points() -> None:
    curve = Curve.through([(1, 100), (4, 200), (16, 100)])
    assert [curve(n) for n in (1, 4, 16)] == pytest.approx([100, 200, 100])
    assert curve(2) == pytest.approx(math.sqrt(100 * 200))
    assert curve(64) == pytest.approx(50)


@pytest.mark.parametrize("points", [[(1, 100)], [(2, 1), (1, 1)]])
def test_points_must_rise(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="points"):
        Curve.through(points)


def test_the_best_static_limit_is_the_smallest_of_the_best() -> None:
    assert best_static(Curve([100.0] * 50), 0.0, 50)[:2] == (1, 100)
    limit, rate, latency_s = best_static(Curve.knee(16, 0.010, retrograde=0.3), 0.005, 200)
    assert 20 <= limit <= 28
    assert rate * latency_s == pytest.approx(limit), "Little's law"


def test_one_job_alone_takes_its_work_and_two_share() -> None:
    station: Station[str] = Station(Curve([1.0, 1.0]))
    station.enter(0.0, "long", 3.0)
    station.enter(1.0, "short", 1.0)
    assert station.next_end_s() == pytest.approx(3.0)
    assert station.leave(3.0) == "short"
    assert station.next_end_s() == pytest.approx(4.0)
    station.advance(3.5)
    station.factor = 0.0
    assert station.next_end_s() == math.inf
    assert station.drop_all() == ["long"]


@pytest.mark.parametrize("delay_s", [0.0, 0.005])
def test_closed_load_is_as_fast_as_the_product_form_says(delay_s: float) -> None:
    curve = Curve.knee(4, 0.010, retrograde=0.2)
    draw = random.Random(3)
    done = [0]

    async def caller(server: SimulatedServer) -> None:
        while True:
            await server.call(draw.expovariate(1.0))
            done[0] += 1

    async def main() -> None:
        server = SimulatedServer(curve, delay_s=delay_s)
        tasks = [asyncio.create_task(caller(server)) for _ in range(8)]
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
        assert server.most_inside <= 8

    VirtualLoop().run(main())
    assert done[0] / 60 == pytest.approx(throughput(curve, delay_s, 8)[0], rel=0.03)


def test_stalls_and_failures_happen_when_told() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = SimulatedServer(Curve([1.0]), delay_s=0.5)
        server.stall()
        loop.call_later(10, server.resume)
        await server.call()
        assert loop.time() == pytest.approx(11.5)
        server.fail_next(1, ConnectionError("down"))
        with pytest.raises(ConnectionError):
            await server.call()
        assert loop.time() == pytest.approx(12.0)
        gone = asyncio.create_task(server.call())
        await asyncio.sleep(0.1)
        gone.cancel()
        await asyncio.sleep(0.1)
        assert server.inside == 1, "a cancelled caller's job goes on"
        await asyncio.sleep(2)
        assert server.inside == 0

    VirtualLoop().run(main())
