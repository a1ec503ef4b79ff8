"""What is measured: so many callers, values of a size, for a block of time."""

import asyncio
import time
from dataclasses import dataclass

from bench.redis.contenders import Contender, Get, GetMany
from fluido.redis.benchmark import Block

KEYS = 64
_MIXED_EVERY = 5  # every fifth call is a SET in a mixed load
_LOOK_EVERY = 8  # calls between two looks at the clock: the end of a block is late by no more


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table. cancel_percent: so many calls are cancelled when they have been sent."""

    name: str
    tasks: int
    value_bytes: int = 64
    mixed: bool = False
    delay_ms: float = 0.0
    cancel_percent: int = 0


async def fill(contender: Contender, value_bytes: int) -> None:
    """Put the values that a cell reads where it reads them."""
    for number in range(KEYS):
        await contender.set(f"bench:{value_bytes}:{number}", b"v" * value_bytes)


def may_collect(cell: Cell) -> bool:
    """Whether the cell is one that explicit pipelines can do."""
    return not cell.mixed and not cell.cancel_percent


async def run(cell: Cell, contender: Contender, duration_s: float) -> Block:
    """Closed loop: every caller has exactly one call in hand. CPU is that of this process, all threads."""
    before_s, begun_s = time.process_time(), time.perf_counter()
    crew = Crew(cell, contender, begun_s + duration_s)
    if contender.get_many is not None:
        await crew.collected(contender.get_many)
    else:
        await asyncio.gather(*[crew.caller(number) for number in range(cell.tasks)])
    wall_s = time.perf_counter() - begun_s
    return Block(crew.calls, wall_s, time.process_time() - before_s, crew.latencies_s)


class Crew:
    """The callers of one block and what they saw."""

    def __init__(self, cell: Cell, contender: Contender, until_s: float) -> None:
        self.cell = cell
        self.contender = contender
        self.until_s = until_s
        self.keys = [f"bench:{cell.value_bytes}:{number}" for number in range(KEYS)]
        self.calls = 0
        self.latencies_s: list[float] = []

    async def caller(self, number: int) -> None:
        """Call until the time is over; callers do not all write, or cancel, at once."""
        cell, key, clock, note = (
            self.cell,
            self.keys[number % KEYS],
            time.perf_counter,
            self.latencies_s.append,
        )
        get, put, value = self.contender.get, self.contender.set, b"v" * self.cell.value_bytes
        at_once = 1 if cell.tasks > 64 or cell.delay_ms else _LOOK_EVERY
        turn = number
        begun_s = 0.0
        while begun_s < self.until_s:
            for _ in range(at_once):
                turn += 1
                begun_s = clock()
                if turn % 100 < cell.cancel_percent:
                    await _cancelled(get, key)
                elif cell.mixed and turn % _MIXED_EVERY == 0:
                    await put(key, value)
                else:
                    await get(key)
                note(clock() - begun_s)
        self.calls += turn - number

    async def collected(self, get_many: GetMany) -> None:
        """One caller fetches for all: what a programmer writes who knows that calls come together."""
        wanted = [self.keys[number % KEYS] for number in range(self.cell.tasks)]
        begun_s = 0.0
        while begun_s < self.until_s:
            begun_s = time.perf_counter()
            await get_many(wanted)
            self.latencies_s.append(time.perf_counter() - begun_s)
            self.calls += self.cell.tasks


async def _cancelled(get: Get, key: str) -> None:
    task = asyncio.ensure_future(get(key))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
