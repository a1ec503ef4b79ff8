"""Which entries there are, so that their number can be bounded."""

from collections.abc import Iterable
from typing import Any

from fluido.redis import Redis

TELL_EVERY = 64  # writes between two looks at the number of entries


class Index:
    """A sorted set in Redis: names of entries by the second in which they end.

    Names are collected here and told to Redis every `TELL_EVERY` writes in one command, just before the
    entries are counted: between two counts nobody reads them. A process that is killed leaves at most
    that many entries behind which are not in the index; they end by themselves.
    """

    def __init__(self) -> None:
        self._untold: dict[str, float] = {}
        self._writes = 0

    def note(self, name: str, ends_s: float) -> bool:
        """Note a write; whether it is time to `tell`."""
        self._untold[name] = ends_s
        self._writes += 1
        return self._writes >= TELL_EVERY

    def drop(self, names: Iterable[str]) -> None:
        """Forget deleted entries that were not told yet."""
        for name in names:
            self._untold.pop(name, None)

    async def tell(self, client: Redis, key: str, now_s: float, max_entries: int) -> int:
        """Tell Redis, and delete the entries above the bound that end first; how many. Raises RedisError.

        What cannot be told is not told later: those entries end by themselves.
        """
        untold, self._untold, self._writes = self._untold, {}, 0
        pipeline = client.pipeline(transaction=False)
        if untold:
            pipeline.zadd(key, untold)
        pipeline.zremrangebyscore(key, "-inf", now_s)
        pipeline.zcard(key)
        above = (await pipeline.execute())[-1] - max_entries
        if above <= 0:
            return 0
        first: Any = await client.zpopmin(key, above)
        await client.unlink(*[name for name, _ in first])
        return len(first)

    def __len__(self) -> int:
        """How many names were not told yet."""
        return len(self._untold)
