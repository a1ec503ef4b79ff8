"""A law of one's own: the limit rises by one after a hundred good calls and halves at a sign of overload.

The same object decides in the simulator, which says that it is no good, and in production:
`python -m fluido.testing scenarios --law own_law:Halving --short --only steady` in the folder of this file.
DATABASE_URL names the server; `python own_law.py` asks it 240 questions at once and prints the reasons.
"""

import asyncio
import os

from sqlalchemy import text

from fluido import Decision, Outcome, Sample
from fluido.sqlalchemy import Limits, create_async_engine, pool_of


class Halving:
    """Additive increase, multiplicative decrease: what TCP does. Pure: no clock, no asyncio, no I/O."""

    name = "halving"

    def __init__(self, *, start: float, floor: float, ceiling: float) -> None:
        self.floor, self.ceiling, self.value = floor, ceiling, start
        self._good = 0
        self._decision = Decision(start, "start")

    def observe(self, sample: Sample, /) -> Decision:
        self._good += 1
        overload = sample.outcome is Outcome.OVERLOAD
        if overload or self._good >= 100:
            self._good = 0
            self.value = min(max(self.value / 2 if overload else self.value + 1, self.floor), self.ceiling)
            self._decision = Decision(self.value, "overload" if overload else "good")
        return self._decision

    def tick(self, _now_s: float, /) -> Decision:
        return self._decision


async def main(url: str) -> list[str]:
    law = Halving(start=15, floor=2, ceiling=50)
    engine = create_async_engine(url, limit=Limits(min=2, max=50), law=law)

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    await asyncio.gather(*(ask() for _ in range(240)))
    stats = pool_of(engine).stats()
    await engine.dispose()
    return [f"{stats.law}: {stats.value:g}", *stats.reasons]


if __name__ == "__main__":
    print(*asyncio.run(main(os.environ["DATABASE_URL"])), sep="\n")
