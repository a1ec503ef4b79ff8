import timeit

import pytest

from fluido.llm.call import Kind
from fluido.llm.kind import detect


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
