"""Times every statement of an engine and hands it, as a sample, to the pool's law."""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.pool import PoolProxiedConnection

from fluido.sample import Outcome
from fluido.sqlalchemy.entry import Entry, hold_of
from fluido.sqlalchemy.fingerprint import fingerprint, says_capacity
from fluido.sqlalchemy.hold import Hold
from fluido.sqlalchemy.outcome import outcome_of

COMMIT = "COMMIT"


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
        # Methods of this one dialect object, which belongs to this one engine.
        dialect.do_execute = self._execute
        dialect.do_execute_no_params = self._execute_no_params
        dialect.do_executemany = self._execute_many
        dialect.do_commit = self._commit

    def _execute(
        self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_execute(cursor, statement, parameters, context)
            return
        hold.begin()
        try:
            self._do_execute(cursor, statement, parameters, context)
        except BaseException as error:
            _failed(hold, statement, error)
            raise
        # A batch of rows in one INSERT has the parameters of all of them.
        batch = context is not None and context.executemany
        _ended(hold, statement, float(len(parameters) or 1) if batch else 1.0)

    def _execute_no_params(
        self, cursor: Any, statement: str, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_execute_no_params(cursor, statement, context)
            return
        hold.begin()
        try:
            self._do_execute_no_params(cursor, statement, context)
        except BaseException as error:
            _failed(hold, statement, error)
            raise
        _ended(hold, statement, 1.0)

    def _execute_many(
        self, cursor: Any, statement: str, parameters: Any, context: ExecutionContext | None = None
    ) -> None:
        hold = _hold_in(context)
        if hold is None:
            self._do_executemany(cursor, statement, parameters, context)
            return
        hold.begin()
        try:
            self._do_executemany(cursor, statement, parameters, context)
        except BaseException as error:
            _failed(hold, statement, error)
            raise
        _ended(hold, statement, float(len(parameters) or 1))

    def _commit(self, proxy: PoolProxiedConnection) -> None:
        hold = hold_of(proxy)
        if hold is None:
            self._do_commit(proxy)
            return
        hold.begin()
        try:
            self._do_commit(proxy)
        except BaseException as error:
            _failed(hold, COMMIT, error)
            raise
        _ended(hold, COMMIT, 1.0)


def _hold_in(context: Any) -> Hold | None:
    # `context.root_connection.connection` is the same by its public name, and one call more.
    entry = getattr(getattr(context, "_dbapi_connection", None), "_connection_record", None)
    return entry.hold if type(entry) is Entry else None


def _ended(hold: Hold, statement: str, units: float) -> None:
    limiter = hold.limiter
    now_s = limiter.clock()
    if hold.binds or limiter.braked:
        outcome = Outcome.OK if says_capacity(statement) else Outcome.IGNORED
        limiter.learn(hold.sample(fingerprint(statement), now_s, outcome, units))
    else:
        limiter.count_unbound(hold.end(now_s))


def _failed(hold: Hold, statement: str, error: BaseException) -> None:
    limiter = hold.limiter
    limiter.learn(hold.sample(fingerprint(statement), limiter.clock(), outcome_of(error), 1.0))
