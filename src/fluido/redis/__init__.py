"""A drop-in for `redis.asyncio.Redis` that shares one connection between all tasks.

Needs the extra `fluido[redis]` (redis-py 5.2 to 8, shared from 6.4 on, hiredis 3.2 or newer).
"""

from fluido._extras import need

need("redis", "redis", "hiredis")

from redis.exceptions import RedisError

from fluido.redis._client import Redis
from fluido.redis._counts import Counts
from fluido.redis._retrying import once
from fluido.redis._sharing import Sharing

__all__ = ["Counts", "Redis", "RedisError", "Sharing", "once"]
