"""The fixtures of cashews' tests, which its source archive leaves out: a cache over each Redis backend."""

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import Mock

import pytest
from cashews import Cache
from cashews.backends.redis import Redis
from cashews.backends.redis.client_side import BcastClientSide

URL = "redis://localhost:6379/3"


@pytest.fixture(name="raw_backend", params=["redis", "redis_cs"])
async def _backend(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "redis":
        backend: Any = Redis(URL, max_connections=20, suppress=False, socket_timeout=1)
    else:
        backend = BcastClientSide(URL, max_connections=5, suppress=False, socket_timeout=1)
        backend._expire_for_recently_update = 0.1
    await backend.init()
    await backend.clear()
    try:
        yield backend, request.param
    finally:
        await backend.close()


@pytest.fixture(name="target")
def _target(raw_backend: Any) -> Mock:
    return Mock(wraps=raw_backend[0], is_full_disable=False)


@pytest.fixture
async def cache(target: Mock, raw_backend: Any) -> Cache:
    await target.clear()
    target.reset_mock()
    made = Cache(name=raw_backend[1])
    made._add_backend(target)
    return made
