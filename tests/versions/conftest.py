"""The embedded Redis of `tests/servers`."""

from tests.servers.conftest import ground_folder, redis_server, redis_url

__all__ = ["ground_folder", "redis_server", "redis_url"]
