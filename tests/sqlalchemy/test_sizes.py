"""The size of a value: right within a factor of two, at a bounded cost."""

import json
import random
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fluido.sqlalchemy._sizes import size_of, size_of_row

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
documents = st.recursive(
    scalars,
    lambda parts: st.lists(parts, max_size=20) | st.dictionaries(st.text(max_size=10), parts, max_size=20),
    max_leaves=60,
)


@given(documents.filter(lambda document: isinstance(document, dict | list)))
def test_a_document_counts_as_its_json_text_does(document: Any) -> None:
    written = len(json.dumps(document))
    read = len(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert read / 2 - 16 <= size_of(document) <= 2 * written + 16
    assert written / 2 - 16 <= size_of(document) <= 2 * read + 16


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("x" * 400_000, 400_000),
        ("é" * 100_000, 200_000),
        ("\U0001f600" * 1000, 4000),
        (b"x" * 400_000, 400_000),
        (bytearray(400_000), 400_000),
        (memoryview(bytes(400_000)).cast("I"), 400_000),
        ({"x": "y" * 20_000}, 20_000),
        (["y" * 1000] * 50, 50_000),
        (Decimal(10**3000), 3000),
        (asyncpg.Range("a" * 500, "b" * 500), 1000),
    ],
)
def test_wide_values_of_every_type(value: Any, size: int) -> None:
    assert size / 2 <= size_of(value) <= 2 * size


def test_an_object_that_a_type_turns_into_json_counts_by_its_fields() -> None:
    @dataclass
    class Message:
        body: str
        tags: list[str]

    assert 9_000 <= size_of(Message("x" * 8_000, ["tag"] * 250)) <= 20_000


def test_a_large_value_is_judged_by_an_even_sample() -> None:
    draw = random.Random(1)
    document = [{"id": i, "text": "x" * draw.randrange(i // 100 + 1)} for i in range(30_000)]
    assert 0.5 < size_of(document) / len(json.dumps(document)) < 2


def test_what_refers_to_itself_and_what_is_deep_costs_no_more() -> None:
    own: list[Any] = []
    own.append(own)
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    assert size_of(own) < 1000
    assert size_of(deep) < 1000


def test_a_row_is_all_of_its_values() -> None:
    assert size_of_row(("abc", 1, None)) == size_of("abc") + size_of(1) + size_of(None)


def test_sql_in_the_place_of_a_value_counts_what_is_bound_in_it() -> None:
    assert size_of(sa.null()) < 100
    assert size_of(sa.func.now()) < 100
    assert 1000 <= size_of(sa.func.lower(sa.literal("x" * 1000))) < 2000
