import pytest

from fluido.redis._routing import (
    PAIRS,
    PLAIN,
    READING,
    WRITING,
    Kind,
    block_argument,
    canonical,
    kind_of,
    only_reads,
    server_wait_s,
)


def test_a_command_reads_or_writes() -> None:
    assert not READING & WRITING
    assert PLAIN == READING | WRITING
    assert all(len(words) == 2 for words in PAIRS.values())


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (("GET", "k"), Kind.SHARED),
        (("get", "k"), Kind.SHARED),
        ((b"GET", "k"), Kind.SHARED),
        (("CONFIG GET", "*"), Kind.SHARED),
        (("CONFIG", "GET", "*"), Kind.ORDINARY),
        (("BLPOP", "k", 0), Kind.BLOCKING),
        (("XREAD", "COUNT", 1, "STREAMS", "s", "0"), Kind.SHARED),
        (("XREAD", "BLOCK", 100, "STREAMS", "s", "$"), Kind.BLOCKING),
        (("XREAD", "STREAMS", "BLOCK", "0"), Kind.SHARED),
        (("XREADGROUP", b"GROUP", "g", "c", "block", b"5", "STREAMS", "s", ">"), Kind.BLOCKING),
        (("WAIT", 1, 0), Kind.WAITING),
        (("AUTH", "secret"), Kind.AUTH),
        (("SELECT", 1), Kind.SELECT),
        (("SUBSCRIBE", "c"), Kind.ORDINARY),
        (("WATCH", "k"), Kind.HAND),
        (("multi",), Kind.HAND),
        (("EXEC",), Kind.ORDINARY),
        (("CLIENT SETNAME", "n"), Kind.STATE),
        (("CLIENT", "no-evict", "on"), Kind.STATE),
        (("CLIENT", "LIST"), Kind.ORDINARY),
        (("SOMETHING.NEW", 1), Kind.ORDINARY),
        ((7,), Kind.ORDINARY),
        ((), Kind.ORDINARY),
    ],
)
def test_a_command_travels_by_its_name(args: tuple[object, ...], kind: Kind) -> None:
    assert kind_of(args) is kind


@pytest.mark.parametrize(
    ("args", "wait_s"),
    [
        (("BLPOP", "a", "b", 7), 7.0),
        (("BLPOP", "a", 0), None),
        (("BLMOVE", "a", "b", "LEFT", "LEFT", "1.5"), 1.5),
        (("BLMPOP", 2, 1, "k", "LEFT"), 2.0),
        (("BZMPOP", b"0.5", 1, "k", "MIN"), 0.5),
        (("XREAD", "BLOCK", 250, "STREAMS", "s", "$"), 0.25),
        (("WAIT", 1, 100), 0.1),
        (("WAIT", 1, 0), None),
        (("BLPOP", "k", "soon"), None),
        (("BLPOP", "k", object()), None),
    ],
)
def test_the_servers_own_waiting_time_is_known(args: tuple[object, ...], wait_s: float | None) -> None:
    assert server_wait_s(args) == wait_s


def test_only_commands_that_change_nothing_may_run_twice() -> None:
    assert only_reads(("GET", "k"))
    assert only_reads((b"mget", "k"))
    assert only_reads(("CONFIG GET", "k"))
    assert not only_reads(("SET", "k", 1))
    assert not only_reads(("EVAL", "return 1", 0))
    assert not only_reads(("NEW", "k"))


def test_names_are_read_whatever_they_are_made_of() -> None:
    assert canonical(b"config  get") == "CONFIG GET"
    assert canonical(None) == ""
    assert block_argument(("XREAD", "BLOCK")) is None
