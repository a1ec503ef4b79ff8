"""What the commands on a real PostgreSQL share: a fresh server with tables, the head of what they print."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench.environment import Environment
from embedded import stack

SCHEMA = (
    "CREATE TABLE bench_hot (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 10)",
    "INSERT INTO bench_hot VALUES (1, 0), (2, 0)",
    "CREATE TABLE bench_log (id bigserial PRIMARY KEY, body text)",
)


@asynccontextmanager
async def database() -> AsyncIterator[str]:
    """The address of a fresh server with the tables of the loops. SystemExit where none can be started."""
    with tempfile.TemporaryDirectory() as folder:
        async with stack(data_dir=Path(folder), engine=None, redis=False) as ground:
            url = ground.database_url
            if url is None:
                raise SystemExit("no PostgreSQL could be started")
            link = await asyncpg.connect(url.replace("+asyncpg", ""))
            for statement in SCHEMA:
                await link.execute(statement)
            await link.close()
            yield url


def headline(environment: Environment) -> str:
    """Which code, on how many cores."""
    dirty = "+" if environment.dirty else ""
    return f"commit {environment.commit[:12]}{dirty}, {environment.cores} cores"
