"""What the tests of `fluido.redis` need of redis-py."""

import pytest

from fluido.redis._adapter import OLDEST, version

sharing = pytest.mark.skipif(
    version() < OLDEST, reason="below redis-py 6.4 all is stock: test_redis_versions.py holds that"
)
