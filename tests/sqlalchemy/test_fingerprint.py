"""Statements that do the same work are one class, whatever their values."""

import pytest

from fluido.sqlalchemy._statements import MAX_CHARS, fingerprint, says_capacity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM a WHERE id = 1", "SELECT * FROM a WHERE id = 42"),
        ("SELECT * FROM a WHERE x = -1.5e3", "SELECT * FROM a WHERE x = 7"),
        ("SELECT 'it''s', E'b'", "SELECT 'x',   'y'"),
        (
            "SELECT * FROM a WHERE id IN ($1::INTEGER, $2::INTEGER)",
            "SELECT * FROM a WHERE id IN ($1::INTEGER)",
        ),
        ("SELECT * FROM a WHERE id IN (%s, %s, %s)", "SELECT * FROM a WHERE id IN (1)"),
        ("SELECT %(id_1)s::INTEGER", "SELECT %(id_2)s::INTEGER"),
        ("INSERT INTO a VALUES ($1, $2), ($3, $4)", "INSERT INTO a VALUES ($1, $2)"),
        ("SELECT 1 -- request 4711\n", "SELECT 2 /* request\n4712 */"),
    ],
)
def test_values_do_not_matter(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM a", "SELECT * FROM b"),
        ("SELECT * FROM t1", "SELECT * FROM t2"),
        ("SELECT a.c1 FROM a", "SELECT a.c2 FROM a"),
        ("UPDATE a SET x = 1", "UPDATE a SET y = 1"),
    ],
)
def test_names_do(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_long_texts_keep_their_beginning_and_differ_by_their_end() -> None:
    columns = ", ".join(f"column_{number}" for number in range(60))
    one, other = (fingerprint(f"SELECT {columns} FROM {table}") for table in ("a", "b"))
    assert one != other
    assert len(one) == len(other) == MAX_CHARS
    assert one.startswith("SELECT column_0, column_1")


def test_waits_for_another_client_say_nothing_about_capacity() -> None:
    assert says_capacity("SELECT * FROM a FOR UPDATE")  # a row lock is the capacity of a hot row
    assert not says_capacity("SELECT pg_advisory_xact_lock($1)")
    assert not says_capacity("LISTEN news")
