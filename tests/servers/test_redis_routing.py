"""The tables of routing.py against the answer of a live server to COMMAND."""

import pytest

from fluido.redis import Redis
from fluido.redis._routing import PLAIN, READING, WRITING, Kind, kind_of

pytestmark = pytest.mark.anyio

# A flag of one of these says that the command changes what its connection means, or holds it up.
STATEFUL = {"pubsub", "noscript", "asking", "admin", "no_auth", "blocking"}
# "noscript" of these has other reasons.
HARMLESS = {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", "PUBLISH", "ROLE", "SPUBLISH"}


async def test_no_stateful_command_is_shared(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client:
        commands = await client.command()
    assert len(commands) > 200
    for name, details in commands.items():
        flags = {flag.decode() if isinstance(flag, bytes) else str(flag) for flag in details["flags"]}
        command = name.upper()
        if command in PLAIN - HARMLESS:
            assert not flags & STATEFUL, f"{command} is shared and {flags & STATEFUL}"
        if command in READING:
            assert "write" not in flags, f"{command} writes"
        if command in WRITING:
            assert "readonly" not in flags, f"{command} only reads"


# Commands on keys that newer servers have and the tables do not know: they take the ordinary path, which is
# slower and never wrong, until somebody needs them shared.
NEWER = {"CLUSTERSCAN", "DELIFEQ"}  # Valkey 9


async def test_every_command_on_keys_is_shared(redis_url: str) -> None:
    """What a server has and the tables have not would be slow without need: say so here, or add it."""
    known = {
        "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN", "HOST:",
        "MEMORY",
        "MIGRATE", "OBJECT", "PFDEBUG", "POST", "RESTORE-ASKING", "XGROUP", "XINFO", "XREAD", "XREADGROUP",
    }  # fmt: skip
    async with Redis.from_url(redis_url) as client:
        commands = await client.command()
    missing = {
        name.upper()
        for name, details in commands.items()
        if {"write", "readonly"} & {f.decode() if isinstance(f, bytes) else str(f) for f in details["flags"]}
    }
    assert not missing - PLAIN - known - NEWER
    assert {kind_of((name,)) for name in NEWER} == {Kind.ORDINARY}
