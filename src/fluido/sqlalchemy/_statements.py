"""Times every statement of an engine and hands it, as a sample, to the pool's law."""

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.pool import PoolProxiedConnection

from fluido._sample import Outcome, Sample
from fluido.sqlalchemy._errors import outcome_of
from fluido.sqlalchemy._hold import Entry, Hold, hold_of

COMMIT = "COMMIT"
# Far below what the law wants a pool tells it nothing; then each statement costs some microseconds less. Not
# so while a higher value is tried: calls that it is not told of look to it like a server that stands still.
BINDS = 2
MAX_CHARS = 72
# What is looked at of a statement, however long it is; and how many such beginnings are remembered: 2 MB.
HEAD_CHARS = 2048
REMEMBERED = 1024

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_STRING = re.compile(r"E?'(?:[^']|'')*'", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w$.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?\b", re.IGNORECASE)
_PARAMETER = re.compile(r"\$\d+(?:::[\w ]+?(?:\[\])?(?=\W|$))?|%\(\w+\)s(?:::\w+)?|%s|:\w+_\d+(?:_\d+)?\b")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_ROWS = re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+")
_SPACE = re.compile(r"\s+")
# What a cut leaves of a literal, and of a list of rows or values: their rest is not part of the class.
_CUT_STRING = re.compile(r"E?'.*$", re.DOTALL | re.IGNORECASE)
_CUT_LIST = re.compile(r"(\(\?\)|\(\s*\?)[\s,(?$%:\w.-]*$")

# Waits that the server's capacity has nothing to do with.
_AWAITS_OTHERS = re.compile(r"\bpg_advisory_(?:xact_)?lock|^\s*LISTEN\b|\bpg_notification", re.IGNORECASE)


def fingerprint(statement: str) -> str:
    """Fold literals, parameters and lists of them; long texts end in a hash of what they fold to.

    Of a statement of more than 2,048 characters only these are looked at: it costs the same for any length.
    """
    if len(statement) <= HEAD_CHARS:
        return _judged(statement)[0]
    return _judged(statement[:HEAD_CHARS])[0]


def says_capacity(statement: str) -> bool:
    """Whether the time of this statement is the server's work, not a wait for another client's decision."""
    if len(statement) <= HEAD_CHARS:
        return _judged(statement)[1]
    return _judged(statement[:HEAD_CHARS])[1]


@lru_cache(maxsize=REMEMBERED)
def _judged(head: str) -> tuple[str, bool]:
    folded = _COMMENT.sub(" ", head)
    folded = _STRING.sub("?", folded)
    if len(head) == HEAD_CHARS:
        folded = _CUT_STRING.sub("?", folded)
    folded = _PARAMETER.sub("?", folded)
    folded = _NUMBER.sub("?", folded)
    folded = _LIST.sub("(?)", folded)
    folded = _ROWS.sub("(?)", folded)
    folded = _SPACE.sub(" ", folded).strip()
    if len(head) == HEAD_CHARS:
        folded = _CUT_LIST.sub(r"\1", folded)
    if len(folded) > MAX_CHARS:
        folded = f"{folded[: MAX_CHARS - 9]}~{zlib.crc32(folded.encode('utf-8', 'surrogatepass')):08x}"
    return folded, _AWAITS_OTHERS.search(head) is None


class Statements:
    """Stands between one engine's dialect and its driver. What the client does in between is his own time.

    Not by events: as soon as an engine has one listener, each of its connections builds the listener lists
    of every event it passes, some 40 us a checkout. The dialect's own methods cost nothing but their time.
    """

    def __init__(self, engine: Engine) -> None:
        dialect: Any = engine.dialect
        self._do_execute = dialect.do_execute
        self._do_execute_no_params = dialect.do_execute_no_params
        self._do_executemany = dialect.do_executemany
        self._do_commit = dialect.do_commit
        self._do_rollback = dialect.do_rollback
        # Methods of this one dialect object, which belongs to this one engine.
        dialect.do_execute = self._execute
        dialect.do_execute_no_params = self._execute_no_params
        dialect.do_executemany = self._execute_many
        dialect.do_commit = self._commit
        dialect.do_rollback = self._rollback

    def _execute(
        self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_execute(cursor, statement, parameters, context)
        else:
            _timed(hold, statement, context, self._do_execute, cursor, statement, parameters, context)

    def _execute_no_params(
        self, cursor: Any, statement: str, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_execute_no_params(cursor, statement, context)
        else:
            _timed(hold, statement, context, self._do_execute_no_params, cursor, statement, context)

    def _execute_many(
        self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_executemany(cursor, statement, parameters, context)
        else:
            _timed(hold, statement, context, self._do_executemany, cursor, statement, parameters, context)

    def _commit(self, proxy: PoolProxiedConnection) -> None:
        hold = hold_of(proxy)
        if hold is None:
            self._do_commit(proxy)
        else:
            _timed(hold, COMMIT, None, self._do_commit, proxy)

    def _rollback(self, proxy: PoolProxiedConnection) -> None:
        # Not a sample, but not idle: most callers end with one, and their permit must not be lent meanwhile.
        hold = hold_of(proxy)
        if hold is None:
            self._do_rollback(proxy)
            return
        hold.begin_untimed()
        try:
            self._do_rollback(proxy)
        finally:
            hold.end_untimed()


def _hold_in(context: Any) -> Hold | None:
    # `context.root_connection.connection` is the same by its public name, and one call more.
    entry = getattr(getattr(context, "_dbapi_connection", None), "_connection_record", None)
    return entry.hold if type(entry) is Entry else None


def _timed(hold: Hold, statement: str, context: Any, call: Callable[..., None], *arguments: Any) -> None:
    """Run one statement and tell the law. One function, because what it calls is cold after a round trip."""
    limiter, gate = hold.limiter, hold.gate
    if hold.lent:
        hold.lent = False
        gate.recall(hold.label)
    hold.statement = statement
    # Opening connections costs both sides so much that a slot in which it happens tells nothing of a limit.
    inflight, limit = gate.inflight, 0.0 if gate.opening else gate.limit
    binds = gate.queue.waiting > 0 or BINDS * inflight >= gate.wanted or limiter.probing
    hold.working_since_s = started_s = limiter.clock()
    try:
        call(*arguments)
    except BaseException as error:
        hold.idle_since_s = ended_s = limiter.clock()
        hold.working_since_s = None
        hold.database_s += ended_s - started_s
        label = fingerprint(statement) if limiter.names_matter else ""
        limiter.learn(Sample(label, started_s, ended_s, 0.0, inflight, limit, outcome_of(error)))
        raise
    hold.idle_since_s = ended_s = limiter.clock()
    hold.working_since_s = None
    hold.database_s += ended_s - started_s
    if binds or limiter.braked:
        label = fingerprint(statement) if limiter.names_matter else ""
        outcome = Outcome.OK if says_capacity(statement) else Outcome.IGNORED
        # A batch of rows in one INSERT has the parameters of all of them.
        batch = context is not None and context.executemany
        units = float(len(arguments[2]) or 1) if batch else 1.0
        limiter.learn(Sample(label, started_s, ended_s, 0.0, inflight, limit, outcome, units))
    else:
        limiter.count_unbound(ended_s - started_s)
