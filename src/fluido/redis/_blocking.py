"""Commands that wait inside the server: a connection of their own, and as much time as they ask for.

redis-py 8.1 reads them with the ordinary socket timeout of 5 s and tries again ten times:
`blpop(timeout=7)` raises TimeoutError after a minute instead of returning None after 7 s
(redis/redis-py#2807). Here a long wait is asked for in pieces of about the socket timeout: the server's nil
after each is the sign that the path is alive. A piece without an answer is a timeout as in redis-py, and by
then the server has given up waiting too: it hands no element to the connection that is left behind.
"""

import math
import time
from typing import Any

from redis.exceptions import ResponseError

from fluido.redis._cancels import asked, heed
from fluido.redis._routing import asks_for_what_is_new, server_wait_s, wait_position, with_wait
from fluido.redis._standin import Replay, Standin, execute_command

LEAST_PIECE_S = 1.0


async def execute(client: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """redis-py's own `execute_command`, but for how long a reply is waited for.

    A caller that is cancelled closes its connection: the server must not hand an element to nobody.
    """
    step = Step(client, args)
    return await execute_command(Standin(client, _send_command_parse_response=step.send), args, options)


class Step:
    """One blocking command, through all its attempts."""

    def __init__(self, client: Any, args: tuple[Any, ...]) -> None:
        self.client = client
        self.position = wait_position(args)
        self.wait_s = server_wait_s(args)
        self.ends_s: float | None = None
        self.asked = asked()

    async def send(self, conn: Any, name: Any, *args: Any, **options: Any) -> Any:
        """Takes the place of `Redis._send_command_parse_response`."""
        heed(self.asked)  # the connection may have been opened for us: what follows waits for long
        limit_s: float | None = conn.socket_timeout
        if self.position is None or limit_s is None:
            await conn.send_command(*args)
            reply = await read(conn, limit_s)
        elif asks_for_what_is_new(args):  # in pieces, it would miss what comes between two of them
            await conn.send_command(*args)
            reply = await read(conn, limit_s + (self.wait_s or 0.0))
        else:
            reply = await self._in_pieces(conn, args, limit_s)
        return await self.client.parse_response(Replay(conn, [reply]), name, **options)

    async def _in_pieces(self, conn: Any, args: tuple[Any, ...], limit_s: float) -> Any:
        whole_s = math.ceil(max(limit_s, LEAST_PIECE_S))
        if self.ends_s is None and self.wait_s is not None:
            self.ends_s = time.monotonic() + self.wait_s
        while True:
            left_s = math.inf if self.ends_s is None else self.ends_s - time.monotonic()
            last = left_s <= whole_s
            if last and self.wait_s is not None and self.wait_s <= whole_s:
                piece_s: float = self.wait_s
                await conn.send_command(*args)
            else:
                piece_s = max(left_s, 0.001) if last else whole_s
                await conn.send_command(*with_wait(args, piece_s))
            reply = await read(conn, piece_s + limit_s)
            if reply is not None or last:
                return reply


async def read(conn: Any, limit_s: float | None) -> Any:
    """The next reply, an error too, if it begins and ends within `limit_s`."""
    before_s = conn.socket_timeout
    conn.socket_timeout = limit_s
    try:
        return await conn.read_response()
    except ResponseError as error:
        return error
    finally:
        # A maintenance notification may have set another timeout meanwhile.
        if conn.socket_timeout == limit_s:
            conn.socket_timeout = before_s
