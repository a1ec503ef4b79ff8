"""Commands that wait inside the server: a connection of their own, and as much time as they ask for.

redis-py 8.1 reads them with the ordinary socket timeout of 5 s and tries again ten times:
`blpop(timeout=7)` raises TimeoutError after a minute instead of returning None after 7 s
(redis/redis-py#2807).
"""

from typing import Any

from fluido.redis.routing import server_wait_s

GRACE_S = 5.0  # for the reply to come back when redis-py has no socket timeout to tell


async def execute(client: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Let `client`, a redis-py client, send over a connection of the pool; read for the server's waiting
    time plus the socket timeout.

    A caller that is cancelled closes its connection: the server must not hand an element to nobody.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()
    before_s = connection.socket_timeout
    wait_s = server_wait_s(args)
    reading_s = None if wait_s is None else wait_s + (GRACE_S if before_s is None else before_s)
    connection.socket_timeout = reading_s

    async def send() -> Any:
        return await client._send_command_parse_response(connection, args[0], *args, **dict(options))

    async def failed(error: Exception, failures: int) -> None:
        await client._close_connection(connection, error, failures)

    try:
        return await connection.retry.call_with_retry(send, failed, with_failure_count=True)
    finally:
        # A maintenance notification may have set another timeout meanwhile.
        if connection.socket_timeout == reading_s:
            connection.socket_timeout = before_s
        await pool.release(connection)
