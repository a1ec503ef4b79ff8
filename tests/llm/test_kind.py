import hashlib
import timeit
from pathlib import Path

import pytest

from fluido.llm._call import Kind
from fluido.llm.prompt._kind import detect

DATA = Path(__file__).parent / "data"
FILES = ("queries.tsv", "negatives.tsv", "negatives_second.tsv")


def labelled(name: str) -> list[tuple[Kind, str, bool]]:
    """(kind, query, held out). The words were chosen while looking at the other half only."""
    rows = []
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        kind, query = line.split("\t", 1)
        held_out = hashlib.sha1(query.encode(), usedforsecurity=False).digest()[0] % 2 == 0
        rows.append((Kind(kind), query, held_out))
    return rows


def accuracy(rows: list[tuple[Kind, str, bool]]) -> float:
    return sum(detect(query) is kind for kind, query, _ in rows) / len(rows)


def test_the_labelled_queries_are_many_and_distinct() -> None:
    rows = [row for name in FILES for row in labelled(name)]
    assert len({query for _, query, _ in rows}) == len(rows) >= 500
    assert {kind for kind, _, _ in rows} == set(Kind)


def test_accuracy_on_queries_nobody_looked_at() -> None:
    assert accuracy([row for row in labelled("queries.tsv") if row[2]]) >= 0.92


def test_each_kind_is_found() -> None:
    rows = labelled("queries.tsv")
    for kind in Kind:
        assert accuracy([row for row in rows if row[0] is kind]) >= 0.9, kind


def test_code_words_in_prose_and_prose_around_code() -> None:
    assert accuracy(labelled("negatives.tsv")) >= 0.9


def test_negatives_that_were_labelled_before_the_words_were_weighed() -> None:
    rows = labelled("negatives_second.tsv")
    assert accuracy([row for row in rows if row[2]]) >= 0.85
    assert len(rows) >= 100


def test_a_query_is_read_in_microseconds() -> None:
    for query in ("lorem ipsum dolor sit amet " * 4000, "¿Por qué el cielo es azul? " * 20):
        best_s = min(timeit.repeat(lambda q=query: detect(q), number=50, repeat=20)) / 50
        assert best_s < 1e-3, "50 us on an idle core, measured; reading the whole of the long one takes 10 ms"


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", Kind.SHORT),
        ("   ", Kind.SHORT),
        ("hola", Kind.SHORT),
        ("What is the capital of Chile?", Kind.SHORT),
        ("¿Por qué el cielo es azul?", Kind.MEDIUM),
        ("Escribe un ensayo detallado sobre la fotosíntesis", Kind.LONG),
        ("Escribe una función en Python que ordene una lista", Kind.CODE),
        ("Explain quantum computing in 20 words", Kind.SHORT),
        ("Write 1500 words about the sea", Kind.LONG),
        ("Write a list of test questions for my class", Kind.MEDIUM),
        ("what does parse(line) return when line is empty?", Kind.CODE),
    ],
)
def test_plain_cases(query: str, kind: Kind) -> None:
    assert detect(query) is kind


@pytest.mark.parametrize("query", ["x" * 1_000_000, "\x00\ud800", "words " * 200_000, "12 palabras " * 50])
def test_odd_input_is_some_kind(query: str) -> None:
    assert isinstance(detect(query), Kind)


def test_the_size_of_a_query_does_not_matter() -> None:
    small, large = "lorem ipsum " * 150, "lorem ipsum " * 100_000
    times = [min(timeit.repeat(lambda q=q: detect(q), number=20, repeat=5)) for q in (small, large)]
    assert times[1] < 3 * times[0]
