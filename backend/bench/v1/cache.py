"""V1's memory of recent fragments: redis-py with its default pool, one key a conversation."""

import json
from collections.abc import Sequence
from uuid import UUID

import redis.asyncio
from redis.exceptions import RedisError

from .pipeline import Pipeline
from .prompt import Fragment

TTL_S = 3600


class StaticCache:
    """Keeps the last fragments of a conversation. A Redis that is away is a miss, never a failure."""

    def __init__(self, redis_url: str, *, pipeline: int = 0, prefix: str = "v1") -> None:
        """`pipeline`: commands in one round trip (0: one each)."""
        self._client = redis.asyncio.Redis.from_url(redis_url)
        self._pipeline = Pipeline(self._client, pipeline)
        self._prefix = prefix

    async def close(self) -> None:
        """Close all connections."""
        await self._pipeline.close()
        await self._client.aclose()

    async def get(self, conversation_id: UUID) -> list[Fragment] | None:
        """None when nothing is known."""
        try:
            found = await self._pipeline.execute("GET", self._key(conversation_id))
        except (RedisError, OSError):
            return None
        return None if found is None else [Fragment(*pair) for pair in json.loads(found)]

    async def put(self, conversation_id: UUID, fragments: Sequence[Fragment]) -> None:
        """Remember them for an hour."""
        packed = json.dumps([(fragment.question, fragment.answer) for fragment in fragments])
        try:
            await self._pipeline.execute("SET", self._key(conversation_id), packed, "EX", TTL_S)
        except (RedisError, OSError):
            return

    async def forget(self, conversation_id: UUID) -> None:
        """Drop what is known of a conversation."""
        try:
            await self._pipeline.execute("DEL", self._key(conversation_id))
        except (RedisError, OSError):
            return

    async def check(self) -> bool:
        """Whether Redis answers."""
        try:
            await self._client.ping()
        except (RedisError, OSError):
            return False
        return True

    def _key(self, conversation_id: UUID) -> str:
        return f"{self._prefix}:fragments:{conversation_id}"
