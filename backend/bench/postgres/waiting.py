"""Who waits how long for a connection when many share few, and how fast the whole goes."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from bench.postgres import arms
from bench.postgres.loops import Block, closed, sleep_10_ms
from bench.postgres.pgbouncer import PgBouncer, installed
from bench.postgres.record import Measured, blocks_of

TURN_MS = 10.0


async def waiting(url: str, *, tasks: int, size: int, blocks: int, block_s: float) -> AsyncIterator[Measured]:
    """Fixed sizes, so that only the queue differs. The ideal longest wait is one turn of everybody."""
    compared: list[arms.Arm] = [
        arms.stock(url, size),
        arms.AsyncpgArm(url, size),
        arms.PsycopgArm(url, size),
        arms.fixed(url, size),
    ]
    name = f"waiting {tasks} on {size}"
    with ExitStack() as around:
        if installed() is not None and tasks <= 100:
            folder = Path(around.enter_context(tempfile.TemporaryDirectory()))
            bouncer = PgBouncer(folder, url, size=size)
            around.callback(bouncer.stop)
            bouncer.start()
            compared.append(arms.behind_pgbouncer(bouncer.url(), tasks))
        collected: dict[str, list[Block]] = {}
        for arm, block in await _interleaved(compared, tasks, blocks, block_s):
            collected.setdefault(arm, []).append(block)
    ideal_ms = TURN_MS * (tasks - size) / size
    for arm, found in collected.items():
        for metric, values in blocks_of(found):
            # Behind PgBouncer every task has a connection, and waits inside of its call.
            if arm != "PgBouncer" or "wait" not in metric:
                yield Measured(name, arm, metric, values)
        if arm != "PgBouncer":
            over = [[1e3 * max(block.waits) / ideal_ms] for block in found]
            yield Measured(name, arm, "longest of ideal", over)


async def _interleaved(
    compared: list[arms.Arm], tasks: int, blocks: int, block_s: float
) -> list[tuple[str, Block]]:
    found: list[tuple[str, Block]] = []
    async with AsyncExitStack() as opened:
        for arm in compared:
            await arm.open()
            opened.push_async_callback(arm.close)
            await closed(arm, sleep_10_ms, tasks=tasks, duration_s=1.0)
        for index in range(blocks):
            for arm in compared if index % 2 == 0 else compared[::-1]:
                block = await closed(arm, sleep_10_ms, tasks=tasks, duration_s=block_s)
                found.append((arm.name, block))
    return found
