import asyncio

import pytest

from fluido.redis.line import Line, Wish

pytestmark = pytest.mark.anyio


def waiters(line: Line[int], label: str, count: int) -> list[tuple[asyncio.Future[int], Wish]]:
    loop = asyncio.get_running_loop()
    pairs = [(loop.create_future(), Wish(label, 1, 0)) for _ in range(count)]
    for pair in pairs:
        line.join(*pair)
    return pairs


def serve_all(line: Line[int]) -> list[tuple[asyncio.Future[int], Wish]]:
    order = []
    while line:
        order.append(line.first())
        line.served(*order[-1])
    return order


async def test_under_one_label_who_comes_first_is_served_first() -> None:
    line: Line[int] = Line()
    pairs = waiters(line, "", 5)
    assert serve_all(line) == pairs


async def test_labels_take_turns() -> None:
    line: Line[int] = Line()
    burst = waiters(line, "report", 4)
    one, two = waiters(line, "", 2)
    assert serve_all(line) == [burst[0], one, burst[1], two, *burst[2:]]


async def test_who_leaves_is_not_served() -> None:
    line: Line[int] = Line()
    first, second, third = waiters(line, "", 3)
    line.leave(*second)
    line.leave(*second)
    assert len(line) == 2
    assert serve_all(line) == [first, third]
    line.leave(*first)
    assert not line


async def test_a_dissolved_line_is_empty() -> None:
    line: Line[int] = Line()
    pairs = waiters(line, "a", 2) + waiters(line, "b", 1)
    assert line.dissolve() == [waiter for waiter, _ in pairs]
    assert not line
