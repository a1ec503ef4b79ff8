"""Results made up for tests."""

import random

from bench.samples import Block, Outcome, Results, Sample

ENVIRONMENT = {
    "started_at": "2026-01-01T00:00:00+00:00", "python": "CPython 3.11", "system": "Linux", "cpu": "x",
    "cores": 2, "memory_gb": 4.0, "commit": "abc", "dirty": False, "versions": {"numpy": "2"},
}  # fmt: skip


def chat_block(arm: str, number: int, scale: float, *, lost: int = 0) -> Block:
    """Ten answers of about `scale` seconds and `lost` refusals."""
    source = random.Random(f"{arm}{number}")
    samples = []
    for n in range(10):
        whole = scale * source.uniform(0.8, 1.2)
        answered = (n, n, n + whole, Outcome.ANSWERED, n + whole / 3, 24, "", 0.01, 0.001, 90, 30)
        samples.append(Sample(*answered))
    samples += [Sample(n, n, n + 0.001, Outcome.REFUSED) for n in range(lost)]
    warm, name = number < 0, "returning_users"
    measured = (0.9, number, 0, warm, False, 0.0, 0.0, 0.5, 10.0, tuple(samples))
    return Block(name, arm, *measured, incarnation=number)


def results(rounds: int = 9, *, speed: float = 3.0, lost: int = 0) -> Results:
    """V1 and a V2 that is `speed` times as fast; one warm-up round in which V2 looks terrible."""
    blocks = [chat_block("v1", -1, 1.0), chat_block("v2", -1, 100.0)]
    for number in range(rounds):
        blocks += [chat_block("v1", number, 1.0), chat_block("v2", number, 1.0 / speed, lost=lost)]
    return Results(dict(ENVIRONMENT), {"profile": {"name": "x"}, "capacity_per_s": {}}, blocks, complete=True)
