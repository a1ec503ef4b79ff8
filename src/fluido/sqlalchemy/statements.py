"""Times every statement of an engine and hands it, as a sample, to the pool's law."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.pool import PoolProxiedConnection

from fluido.sample import Outcome, Sample
from fluido.sqlalchemy.entry import Entry, hold_of
from fluido.sqlalchemy.fingerprint import fingerprint, says_capacity
from fluido.sqlalchemy.hold import Hold
from fluido.sqlalchemy.outcome import outcome_of

COMMIT = "COMMIT"
# Far below what the law wants a pool tells it nothing; then each statement costs some microseconds less.
BINDS = 2


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
    inflight, limit = gate.inflight, gate.limit
    binds = gate.waiting > 0 or BINDS * inflight >= gate.wanted
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
