"""The real servers of `tests/servers`, for the examples that a reader may copy."""

from tests.servers.conftest import (
    ground_folder,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

__all__ = ["ground_folder", "postgres_server", "postgres_url", "redis_server", "redis_url"]
