"""Static pipelining keeps replies and errors with their callers."""

import asyncio
from typing import Any

import pytest

from bench.v1.pipeline import Pipeline
from bench.v1.tuning import Tuning, read

pytestmark = pytest.mark.anyio


class FakePipe:
    """A round trip that takes one turn of the loop and answers with what it was asked."""

    def __init__(self, client: "FakeClient") -> None:
        self.client = client
        self.commands: list[tuple[Any, ...]] = []

    def execute_command(self, *command: Any) -> None:
        self.commands.append(command)

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        self.client.trips.append(len(self.commands))
        await asyncio.sleep(0)
        if self.client.is_broken:
            raise ConnectionError("gone")
        return [ValueError("bad") if command[0] == "BAD" else command[1] for command in self.commands]


class FakeClient:
    def __init__(self) -> None:
        self.trips: list[int] = []
        self.is_broken = False

    def pipeline(self, *, transaction: bool) -> FakePipe:
        assert not transaction
        return FakePipe(self)

    async def execute_command(self, *command: Any) -> Any:
        self.trips.append(1)
        return command[1]


def pipeline(size: int) -> tuple[FakeClient, Pipeline]:
    client = FakeClient()
    return client, Pipeline(client, size)  # type: ignore[arg-type]  # a fake with the same two calls


async def test_commands_share_round_trips_of_a_bounded_size() -> None:
    client, pipe = pipeline(4)
    replies = await asyncio.gather(*(pipe.execute("GET", number) for number in range(10)))
    assert replies == list(range(10))
    assert client.trips == [4, 4, 2]
    await pipe.close()


async def test_without_a_size_every_command_goes_alone() -> None:
    client, pipe = pipeline(0)
    assert await asyncio.gather(*(pipe.execute("GET", n) for n in range(3))) == [0, 1, 2]
    assert client.trips == [1, 1, 1]


async def test_an_error_reaches_its_own_caller_and_a_broken_trip_all_of_it() -> None:
    client, pipe = pipeline(8)
    found = await asyncio.gather(pipe.execute("GET", 1), pipe.execute("BAD", 2), return_exceptions=True)
    assert found[0] == 1
    assert isinstance(found[1], ValueError)
    client.is_broken = True
    broken = await asyncio.gather(pipe.execute("GET", 1), pipe.execute("GET", 2), return_exceptions=True)
    assert all(isinstance(error, ConnectionError) for error in broken)
    client.is_broken = False
    assert await pipe.execute("GET", 3) == 3
    await pipe.close()


def test_constants_travel_through_the_environment() -> None:
    tuning = Tuning(pool_size=20, pipeline=64, in_flight=2)
    assert read(tuning.environment()) == tuning
    assert read({}) == Tuning()
