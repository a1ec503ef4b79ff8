"""The constructor's arguments, as redis-py types them; read by type checkers and editors only."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from ssl import TLSVersion, VerifyFlags, VerifyMode
from typing import TYPE_CHECKING, Any, TypedDict

from redis.asyncio.connection import ConnectionPool
from redis.asyncio.retry import Retry
from redis.credentials import CredentialProvider

if TYPE_CHECKING:  # newer than the oldest redis-py that is served
    from redis.driver_info import DriverInfo
    from redis.event import EventDispatcher
    from redis.maint_notifications import MaintNotificationsConfig


class Options(TypedDict, total=False):
    """Of `redis.asyncio.Redis`, redis-py 8.1."""

    host: str
    port: int
    db: str | int
    password: str | None
    socket_timeout: float | None
    socket_connect_timeout: float | None
    socket_read_size: int
    socket_keepalive: bool | None
    socket_keepalive_options: Mapping[int, int | bytes] | object | None
    connection_pool: ConnectionPool | None
    unix_socket_path: str | None
    encoding: str
    encoding_errors: str
    decode_responses: bool
    retry_on_timeout: bool
    retry: Retry
    retry_on_error: list[type[Exception]] | None
    ssl: bool
    ssl_keyfile: str | None
    ssl_certfile: str | None
    ssl_cert_reqs: str | VerifyMode
    ssl_include_verify_flags: list[VerifyFlags] | None
    ssl_exclude_verify_flags: list[VerifyFlags] | None
    ssl_ca_certs: str | None
    ssl_ca_data: str | None
    ssl_ca_path: str | None
    ssl_check_hostname: bool
    ssl_min_version: TLSVersion | None
    ssl_ciphers: str | None
    ssl_password: str | None
    max_connections: int | None
    single_connection_client: bool
    health_check_interval: int
    client_name: str | None
    lib_name: str | object | None
    lib_version: str | object | None
    driver_info: DriverInfo | object | None
    username: str | None
    auto_close_connection_pool: bool | None
    redis_connect_func: Callable[..., Any] | None
    credential_provider: CredentialProvider | None
    protocol: int | None
    legacy_responses: bool
    event_dispatcher: EventDispatcher | None
    maint_notifications_config: MaintNotificationsConfig | None


def signature(stock: Callable[..., Any]) -> inspect.Signature:
    """redis-py's, plus `sharing`: what `help` and editors show."""
    found = inspect.signature(stock)
    sharing = inspect.Parameter("sharing", inspect.Parameter.KEYWORD_ONLY, default=None)
    return found.replace(parameters=[*found.parameters.values(), sharing])
