"""Which errors mean that too much was asked of the server."""

import pytest
from sqlalchemy.exc import DBAPIError

from fluido._sample import Outcome
from fluido.sqlalchemy._errors import outcome_of, outcome_of_connect, sqlstate_of


class ServerError(Exception):
    """As asyncpg and psycopg raise it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize("state", ["53300", "53200", "57P03", "57P01", "08006"])
def test_refused_or_lost_is_overload(state: str) -> None:
    assert outcome_of(ServerError(state)) is Outcome.OVERLOAD


@pytest.mark.parametrize("state", ["40P01", "55P03", "57014", "23505", "40001", "42601"])
def test_what_happens_at_any_load_is_ignored(state: str) -> None:
    assert outcome_of(ServerError(state)) is Outcome.IGNORED


def test_sqlalchemys_wrapper_is_looked_through() -> None:
    assert sqlstate_of(DBAPIError("SELECT 1", {}, ServerError("53300"))) == "53300"
    assert sqlstate_of(ValueError("no state")) == ""


def test_a_lost_socket_is_overload_and_a_slow_statement_is_not() -> None:
    assert outcome_of(ConnectionRefusedError()) is Outcome.OVERLOAD
    assert outcome_of(TimeoutError()) is Outcome.IGNORED
    assert outcome_of_connect(TimeoutError()) is Outcome.OVERLOAD
    assert outcome_of(KeyError("mine")) is Outcome.IGNORED
