"""The real servers of `tests/servers`, for reports of real users that only a real server decides."""

from tests.servers.conftest import (
    ground_folder,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

__all__ = ["ground_folder", "postgres_server", "postgres_url", "redis_server", "redis_url"]
