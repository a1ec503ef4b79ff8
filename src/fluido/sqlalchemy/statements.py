"""Times every statement of an engine and hands it, as a sample, to the pool's law."""

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import PoolProxiedConnection

from fluido.sample import Outcome, Sample
from fluido.sqlalchemy.fingerprint import fingerprint, says_capacity
from fluido.sqlalchemy.hold import HOLD, Hold
from fluido.sqlalchemy.outcome import outcome_of

COMMIT = "COMMIT"


class Statements:
    """Listens to one engine. What the client does between two statements is not the database's time."""

    def __init__(self, engine: Engine) -> None:
        event.listen(engine, "before_cursor_execute", self._begin)
        event.listen(engine, "after_cursor_execute", self._end)
        event.listen(engine, "handle_error", self._fail)
        # There is no event after a commit, and with group commit that is where the time goes.
        self._do_commit = engine.dialect.do_commit
        setattr(engine.dialect, "do_commit", self._commit)  # noqa: B010  (a method of this one dialect object)

    def _begin(self, connection: Connection, *_: Any) -> None:
        hold = _hold_of(connection.connection)
        if hold is not None:
            hold.begin()

    def _end(
        self, connection: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        hold = _hold_of(connection.connection)
        if hold is not None:
            outcome = Outcome.OK if says_capacity(statement) else Outcome.IGNORED
            _learn(hold, fingerprint(statement), outcome, float(len(parameters) or 1) if many else 1.0)

    def _fail(self, context: ExceptionContext) -> None:
        connection = context.connection
        if connection is None or connection.invalidated or context.statement is None:
            return
        hold = _hold_of(connection.connection)
        if hold is not None and hold.working_since_s is not None:
            _learn(hold, fingerprint(context.statement), outcome_of(context.original_exception))

    def _commit(self, proxy: PoolProxiedConnection) -> None:
        hold = _hold_of(proxy)
        if hold is None:
            self._do_commit(proxy)
            return
        hold.begin()
        try:
            self._do_commit(proxy)
        except BaseException as error:
            _learn(hold, COMMIT, outcome_of(error))
            raise
        _learn(hold, COMMIT, Outcome.OK)


def _hold_of(proxy: PoolProxiedConnection) -> Hold | None:
    info = proxy.record_info
    return None if info is None else info.get(HOLD)


def _learn(hold: Hold, label: str, outcome: Outcome, units: float = 1.0) -> None:
    started_s = hold.working_since_s
    if started_s is None:
        return
    limiter = hold.limiter
    finished_s = limiter.clock()
    hold.end(finished_s)
    sample = Sample(label, started_s, finished_s, 0.0, hold.inflight, hold.limit, outcome, units)
    if hold.binds or outcome is not Outcome.OK or limiter.braked:
        limiter.learn(sample)
    else:
        limiter.count(sample)
