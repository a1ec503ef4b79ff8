"""The experiments of `python -m bench.postgres` that sweep: they run, and say what they were asked."""

import asyncpg
import pytest

from bench.postgres import fleet, limits
from bench.postgres.ground import SCHEMA
from bench.postgres.record import Measured

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

TINY = limits.Length(sweep=(2, 6), starts=(4,), blocks=1, static_s=0.1, law_s=0.5, phase_s=0.5)


@pytest.fixture
async def url(postgres_url: str) -> str:
    link = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    for statement in SCHEMA:
        await link.execute(statement)
    await link.close()
    return postgres_url


def of(rows: list[Measured], arm: str) -> dict[str, float]:
    return {row.metric: row.blocks[0][0] for row in rows if row.arm == arm}


async def test_a_sweep_of_limits(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WORKLOADS", {"I/O": limits.WORKLOADS["I/O"]})
    rows = [row async for row in limits.limits(url, TINY)]
    assert of(rows, "fluido from 4")["calls/s"] > 0
    assert of(rows, "best static")["calls/s"] > 0
    assert of(rows, "V1 (5+10)")["calls/s"] > 0
    assert 2 <= of(rows, "fluido from 4")["limit"] <= limits.MOST
    # Waiting is ordered alike by any server and any simulator: more in flight, more done.
    assert of(rows, "pairs of limits") == {"in opposite order": 0.0, "of": 1.0}


async def test_one_process_of_the_fleet(url: str) -> None:
    class Given:
        fixed, start, cost, replicas, duration_s = 0, 4, 1_000, 4, 0.6

    found = await fleet.replica(url, Given)  # type: ignore[arg-type]  # what argparse would answer
    assert len(found["work"]) == limits.BINS
    assert sum(found["work"]) > 0
    assert 1 <= found["limit"] <= fleet.MOST


def test_a_co_tenant_leaves_at_the_end_of_its_block() -> None:
    with limits.co_tenant() as process:
        assert process.poll() is None
    assert process.poll() is not None
