import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.cache.dynamic_redis import PIECE_BYTES, CacheBounds, DynamicRedisCache, dynamic_redis_cache
from fluido.errors import Closed
from fluido.redis import RedisError

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class DictPipeline:
    def __init__(self, store: "DictRedis") -> None:
        self.store = store
        self.queue: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: self.queue.append((name, args, kwargs))

    async def execute(self) -> list[Any]:
        if self.queue[0][0] == "set":
            self.store.pieces.append(len(self.queue))
        return [await getattr(self.store, name)(*args, **kwargs) for name, args, kwargs in self.queue]


class DictRedis:
    """As much of Redis as the cache uses, in a dict; `down` makes it fail."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.scores: dict[str, float] = {}
        self.lives_ms: dict[str, int] = {}
        self.down = False
        self.asked = 0
        self.pieces: list[int] = []
        self.closed = False

    def pipeline(self, transaction: bool = True) -> DictPipeline:
        return DictPipeline(self)

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            raise RedisError("down")

    async def ping(self) -> bool:
        self._ask()
        return True

    async def get(self, name: str) -> bytes | None:
        self._ask()
        return self.values.get(name)

    async def mget(self, names: list[str]) -> list[bytes | None]:
        self._ask()
        return [self.values.get(name) for name in names]

    async def set(self, name: str, value: bytes, px: int) -> bool:
        self._ask()
        self.values[name] = value
        self.lives_ms[name] = px
        return True

    async def delete(self, *names: str) -> int:
        self._ask()
        return sum(self.values.pop(name, None) is not None for name in names)

    unlink = delete

    async def zadd(self, key: str, scores: dict[str, float]) -> int:
        self.scores.update(scores)
        return 1

    async def zrem(self, key: str, *names: str) -> int:
        return sum(self.scores.pop(name, None) is not None for name in names)

    async def zcard(self, key: str) -> int:
        return len(self.scores)

    async def zremrangebyscore(self, key: str, low: str, high: float) -> int:
        gone = [name for name, score in self.scores.items() if score <= high]
        return await self.zrem(key, *gone)

    async def zpopmin(self, key: str, count: int) -> list[tuple[str, float]]:
        first = sorted(self.scores.items(), key=lambda item: item[1])[:count]
        await self.zrem(key, *[name for name, _ in first])
        return first

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> DictRedis:
    return DictRedis()


@pytest.fixture
async def cache(store: DictRedis, clock: Clock) -> DynamicRedisCache:
    fake: Any = store
    cache = DynamicRedisCache(client=fake, namespace="t", clock=clock, chance=lambda: 1.0)
    await cache.open()
    return cache


async def test_a_value_comes_back_until_its_end(cache: DynamicRedisCache, clock: Clock) -> None:
    assert await cache.set("k", {"a": [1, "ñ"]}, ttl=10)
    assert await cache.get("k") == {"a": [1, "ñ"]}
    clock.now_s += 10
    assert await cache.get("k", "nothing") == "nothing"
    assert (cache.stats().hits, cache.stats().misses) == (1, 1)


async def test_none_is_a_value_too(cache: DynamicRedisCache) -> None:
    await cache.set("k", None)
    assert await cache.get("k", "default") is None


async def test_many_keys_are_read_at_once(cache: DynamicRedisCache, store: DictRedis) -> None:
    await cache.set("a", 1)
    await cache.set("b", 2)
    asked = store.asked
    assert await cache.batch_get(["a", "x", "b", "a"]) == {"a": 1, "b": 2}
    assert store.asked == asked + 1
    assert await cache.batch_get([]) == {}


async def test_forgetting_tells_how_many_there_were(cache: DynamicRedisCache, store: DictRedis) -> None:
    await cache.set("a", 1)
    assert await cache.delete("a", "b") == 1
    assert await cache.delete() == 0
    assert not store.scores


async def test_times_are_bounded_by_policy(cache: DynamicRedisCache, store: DictRedis) -> None:
    cache.bounds = CacheBounds(ttl_s=5, max_ttl_s=60, stale_s=2)
    await cache.set("default", 1)
    await cache.set("long", 1, ttl=9999)
    assert store.lives_ms == {"t:entry:default": 7000, "t:entry:long": 62000}
    assert not await cache.set("gone", 1, ttl=0)


async def test_the_first_to_expire_make_room(cache: DynamicRedisCache, store: DictRedis) -> None:
    cache.bounds = CacheBounds(max_entries=10)
    for number in range(64):
        await cache.set(f"k{number}", number, ttl=100 + number)
    assert len(store.values) == 10
    assert await cache.get("k63") == 63
    assert await cache.get("k0") is None
    assert cache.stats().trimmed == 54


async def test_the_names_of_entries_are_told_together(cache: DynamicRedisCache, store: DictRedis) -> None:
    for number in range(63):
        await cache.set(f"k{number % 3}", number)
    assert not store.scores
    assert store.asked == 63
    await cache.set("k3", 0)
    assert len(store.scores) == 4
    await cache.set("k4", 0)
    await cache.set("k5", 0)
    await cache.delete("k5")
    await cache.close()
    assert set(store.scores) == {f"t:entry:k{number}" for number in range(5)}


async def test_many_values_are_written_in_few_pieces_and_bounded(
    cache: DynamicRedisCache, store: DictRedis
) -> None:
    cache.bounds = CacheBounds(max_entries=10, max_value_bytes=PIECE_BYTES)
    assert await cache.batch_set([(f"k{number}", number) for number in range(200)], ttl=100) == 200
    assert len(store.values) == 10
    assert store.pieces == [200]
    large = "x" * (PIECE_BYTES // 2)
    assert await cache.batch_set([("a", large), ("b", large), ("wrong", object()), ("c", large)]) == 3
    assert store.pieces == [200, 2]
    assert (await cache.get("c"), cache.stats().refused) == (large, 1)
    assert await cache.batch_set([]) == 0


async def test_nothing_more_is_read_of_many_values_once_redis_is_away(
    cache: DynamicRedisCache, store: DictRedis
) -> None:
    large = "x" * PIECE_BYTES
    entries = ((str(number), large) for number in range(10))
    store.down = True
    assert await cache.batch_set(entries) == 0
    assert next(entries)[0] == "1"
    assert await cache.batch_set(entries) == 0
    assert next(entries)[0] == "2"
    assert store.asked == 1


async def test_what_does_not_fit_is_not_stored(cache: DynamicRedisCache, store: DictRedis) -> None:
    cache.bounds = CacheBounds(max_value_bytes=100)
    assert not await cache.set("k", "x" * 200)
    assert not await cache.set("k", object())
    assert cache.stats().refused == 2
    assert not store.values


async def test_long_keys_are_stored_under_their_digest(cache: DynamicRedisCache, store: DictRedis) -> None:
    for key in ("u" * 500, "v" * 500, "\ud800" * 500):
        await cache.set(key, key[0] == "u")
    assert await cache.get("u" * 500) is True
    assert await cache.get("v" * 500) is False
    assert all(len(name) < 200 and name.startswith("t:") for name in store.values)


async def test_what_somebody_else_wrote_is_a_miss(cache: DynamicRedisCache, store: DictRedis) -> None:
    store.values["t:entry:k"] = b"not ours"
    assert await cache.get("k") is None
    assert cache.stats().corrupt == 1


async def test_a_dead_redis_is_a_miss_and_is_left_alone(
    cache: DynamicRedisCache, store: DictRedis, clock: Clock
) -> None:
    store.down = True
    assert await cache.get("k") is None
    assert await cache.set("k", 1) is False
    assert await cache.batch_get(["k"]) == {}
    assert (cache.stats().failed, cache.stats().skipped, store.asked) == (1, 2, 1)
    with pytest.raises(ConnectionError):
        await cache.check()
    store.down = False
    clock.now_s += 1.5
    assert await cache.set("k", 1)
    assert "answers" in await cache.check()


async def test_of_many_callers_one_computes(cache: DynamicRedisCache) -> None:
    begun = 0
    go = asyncio.Event()

    async def compute() -> int:
        nonlocal begun
        begun += 1
        await go.wait()
        return 42

    callers = [asyncio.create_task(cache.get_or_compute("k", compute)) for _ in range(50)]
    await _settled()
    callers[0].cancel()
    go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert begun == 1
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [42] * 49
    assert await cache.get("k") == 42


async def test_a_failed_computation_raises_for_all_and_is_not_stored(cache: DynamicRedisCache) -> None:
    async def compute() -> int:
        raise LookupError("no")

    results = await asyncio.gather(
        *[cache.get_or_compute("k", compute) for _ in range(3)], return_exceptions=True
    )
    assert [type(result) for result in results] == [LookupError] * 3
    assert await cache.get("k") is None


async def test_a_stale_value_is_handed_out_while_another_is_computed(
    cache: DynamicRedisCache, clock: Clock
) -> None:
    cache.bounds = CacheBounds(stale_s=30)
    await cache.set("k", "old", ttl=10)
    clock.now_s += 15
    assert await cache.get_or_compute("k", _returns("new"), ttl=10) == "old"
    await _settled()
    assert await cache.get("k") == "new"
    assert cache.stats().stale == 1
    clock.now_s += 41
    assert await cache.get_or_compute("k", _returns("newest")) == "newest"


async def test_a_costly_value_is_computed_before_its_end(store: DictRedis, clock: Clock) -> None:
    fake: Any = store
    cache = DynamicRedisCache(client=fake, clock=clock, chance=lambda: 1e-9)
    await cache.open()

    async def slow() -> str:
        clock.now_s += 1.0
        return "first"

    assert await cache.get_or_compute("k", slow, ttl=100) == "first"
    clock.now_s += 50
    assert await cache.get_or_compute("k", _returns("second"), ttl=100) == "first"
    await _settled()
    assert cache.stats().early == 0  # -ln(1e-9) is 20.7 costs of one second: the end is farther away
    clock.now_s += 30
    assert await cache.get_or_compute("k", _returns("second"), ttl=100) == "first"
    await _settled()
    assert await cache.get("k") == "second"
    assert cache.stats().early == 1


async def test_a_closed_cache_remembers_nothing_and_closes_once(
    cache: DynamicRedisCache, store: DictRedis
) -> None:
    go = asyncio.Event()

    async def compute() -> None:
        await go.wait()

    caller = asyncio.create_task(cache.get_or_compute("k", compute))
    await _settled()
    await cache.close()
    with pytest.raises(Closed):
        await caller
    await cache.close()
    assert await cache.get("k") is None
    assert not store.closed  # it belongs to whoever gave it


async def test_the_module_level_cache_is_inert_until_it_is_opened() -> None:
    assert await dynamic_redis_cache.get("k") is None
    assert await dynamic_redis_cache.set("k", 1) is False


async def test_a_cache_needs_to_know_its_redis() -> None:
    with pytest.raises(ValueError, match="URL or a client"):
        await DynamicRedisCache().open()


@pytest.mark.parametrize("wrong", [{"ttl_s": 0}, {"max_entries": 0}, {"stale_s": -1}, {"max_flights": 0}])
async def test_bounds_must_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|not negative"):
        CacheBounds(**wrong)


def _returns(value: str) -> Callable[[], Any]:
    async def compute() -> str:
        return value

    return compute


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
