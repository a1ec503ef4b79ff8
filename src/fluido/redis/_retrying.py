"""Retries: sending one command, or one run of them, until there is an answer or nothing left to try."""

import copy
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from fluido.redis._adapter import Reply
from fluido.redis._link import Link
from fluido.redis._mux import Mux, NotOpened
from fluido.redis._routing import canonical, only_reads
from fluido.redis._sharing import Sharing
from fluido.redis._watch import Lost

MAX_MOVES = 3
# The server says no before it does anything: repeating these is safe.
_REFUSALS = (AuthenticationError, BusyLoadingError, ReadOnlyError)


@dataclass(slots=True)
class Failure:
    """Why an attempt has no answer.

    again: whether another attempt could double nothing, since the command did not run or changes nothing.
    """

    error: Exception
    link: Link | None
    again: bool


@dataclass(slots=True)
class Answer:
    """What came back, one reply a command, and the link it came over; what redis-py makes of a pipeline's."""

    replies: list[Reply]
    link: Link
    result: list[Any] | None = None


Attempt = Callable[[], Awaitable[Answer | Failure]]


def failure_in(reply: Reply, link: Link, *, repeatable: bool, alone: bool = True) -> Failure | None:
    """The failure that a reply stands for, if it is one that closes a connection in redis-py.

    Not `alone`: other errors of the server are for the pipeline to judge.
    """
    if not isinstance(reply, Exception):
        if reply.__class__ is list and reply and isinstance(reply[0], RedisConnectionError):
            return Failure(reply[0], link, again=repeatable)
        return None
    if isinstance(reply, Lost):
        return Failure(reply.error, link, again=repeatable or not reply.sent)
    error = link.wire.translate(reply)
    if isinstance(error, RedisConnectionError) or (alone and link.wire.may_retry(error)):
        link.retire(f"refused: {type(reply).__name__}")
        return Failure(error, link, again=repeatable or isinstance(reply, _REFUSALS))
    return None


def repeatable(sharing: Sharing, commands: Sequence[Sequence[object]]) -> bool:
    """Whether all of these may be repeated even though they were sent."""
    if sharing.delivery == "retry":
        return True
    return all(only_reads(args) or canonical(args[0]) in sharing.idempotent for args in commands)


def rough_bytes(commands: Sequence[Sequence[object]]) -> int:
    """About what commands take on the wire: what decides is whether there are large values."""
    return sum(
        len(argument) + 8 if isinstance(argument, str | bytes | bytearray | memoryview) else 24
        for args in commands
        for argument in args
    )


async def attempt(
    mux: Mux,
    commands: Sequence[Sequence[object]],
    packed: Callable[[Link], list[bytes]],
    raw: frozenset[int],
    *,
    repeatable: bool,
    parse: Callable[[Answer], Awaitable[list[Any]]] | None = None,
) -> Answer | Failure:
    """Send `commands` once, as `packed` makes them.

    A link that is lost before the write costs nothing: the next one gets the commands.

    `packed` may raise what redis-py raises for arguments it refuses; MaxConnectionsError comes from the
    mux. `parse` is how redis-py reads the replies of a pipeline: what it raises ends the attempt, and the
    user's Retry may name it.
    """
    moves = 0
    while True:
        try:
            reads = mux.split is not None and all(map(only_reads, commands))
            link = await mux.ready(len(commands), rough_bytes(commands), reads=reads)
        except NotOpened as refusal:
            return Failure(refusal.error, None, again=False)
        futures = link.submit_run(packed(link), raw)
        await futures[-1]
        replies = [future.result() for future in futures]
        last = replies[-1]
        if isinstance(last, Lost) and not last.sent and moves < MAX_MOVES:
            moves += 1
            mux.tally.moved += 1
            continue
        for reply in replies:
            failure = failure_in(reply, link, repeatable=repeatable, alone=parse is None)
            if failure is not None:
                return failure
        answer = Answer(replies, link)
        if parse is not None:
            try:
                answer.result = await parse(answer)
            except RedisError as error:
                if not link.wire.may_retry(error):
                    raise
                link.retire(f"refused: {type(error).__name__}")
                return Failure(error, link, again=repeatable)
        return answer


async def persist(mux: Mux, first: Failure | Answer, again: Attempt) -> Answer:
    """Repeat a failed attempt as the user's Retry says. Raises the last error.

    A connection that could not be opened has been retried by redis-py already and is not retried here.
    """
    if isinstance(first, Answer):
        return first
    if first.link is None or not first.again or not isinstance(first.error, RedisError):
        raise first.error
    pending: Failure | None = first
    refused: Failure | None = None

    async def once() -> Answer | None:
        nonlocal pending, refused
        if pending is not None:
            failure, pending = pending, None
            raise failure.error
        mux.tally.retried += 1
        result = await again()
        if isinstance(result, Answer):
            return result
        if result.link is None or not result.again:
            refused = result
            return None
        raise result.error

    async def failed(_error: Exception) -> None:
        """The link is closed already; there is nothing to disconnect."""

    retry: Retry = copy.deepcopy(first.link.wire.connection.retry)
    answer = await retry.call_with_retry(once, cast("Any", failed))
    return answer if answer is not None else _raise(refused)


def _raise(failure: Failure | None) -> Answer:
    raise (
        failure.error if failure is not None else RuntimeError("a Retry returned before the call it retries")
    )


def once() -> Retry:
    """A Retry that does not try again, for callers who rather do without."""
    return Retry(NoBackoff(), 0)


def raise_or(reply: Reply, default: Reply, *, has_default: bool) -> Reply:
    """A reply that is an error is raised, unless the command came with an answer for that case."""
    if isinstance(reply, ResponseError) and has_default:
        return default
    if isinstance(reply, Exception):
        raise reply from None
    return reply
