"""A patch leaves every byte that it does not own, and a body that is no JSON is refused with a sentence."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._spans import Members, Patch, check_text, encoded

BLANKS = st.text(" \t\r\n", max_size=3)
TEXTS = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS | st.floats(-1e6, 1e6, allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, str]]:
    """A JSON object with blanks wherever they may be, its value, and the text of each member's value."""
    names = draw(st.lists(TEXTS, unique=True, max_size=5))
    pieces, values, texts = [], {}, {}
    for name in names:
        values[name] = draw(VALUES)
        texts[name] = json.dumps(
            values[name], ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
        )
        key = json.dumps(name, ensure_ascii=draw(st.booleans()))
        pieces.append(f"{draw(BLANKS)}{key}{draw(BLANKS)}:{draw(BLANKS)}{texts[name]}{draw(BLANKS)}")
    body = f"{draw(BLANKS)}{{{','.join(pieces) or draw(BLANKS)}}}{draw(BLANKS)}"
    return body, values, texts


@settings(max_examples=80, deadline=None)
@given(bodies())
def test_members_are_found_where_they_stand(made: tuple[str, dict[str, Any], dict[str, str]]) -> None:
    body, values, texts = made
    members = Members(body.encode("utf-8", "surrogatepass"))
    assert members.names() == tuple(values)
    for name, value in values.items():
        assert members.value(name) == value
        assert members.bytes_of(name) == texts[name].encode("utf-8", "surrogatepass")
    assert Patch(members).apply() is members.body


@settings(max_examples=80, deadline=None)
@given(bodies(), st.data())
def test_a_patch_changes_what_it_owns_and_no_byte_beside(
    made: tuple[str, dict[str, Any], dict[str, str]], data: st.DataObject
) -> None:
    body, values, texts = made
    members = Members(body.encode("utf-8", "surrogatepass"))
    patch, wanted = Patch(members), dict(values)
    names = data.draw(st.lists(st.sampled_from([*values, "fresh", "news"]), unique=True, max_size=5))
    for name in names:
        if data.draw(st.booleans()):
            patch.set(name, encoded(["new"]))
            wanted[name] = ["new"]
        else:
            patch.remove(name)
            wanted.pop(name, None)
    made_bytes = patch.apply()
    assert json.loads(made_bytes) == wanted
    again = Members(made_bytes)
    for name in set(values) - set(names):
        assert again.bytes_of(name) == texts[name].encode("utf-8", "surrogatepass")
    untouched = [name for name in values if name not in names]
    for one, other in pairwise(untouched):
        before, after = members.span(one), members.span(other)
        neighbours = list(values)
        if before and after and neighbours.index(other) == neighbours.index(one) + 1:
            assert members.body[before.end : after.at] in made_bytes


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b"[1]", "one JSON object"),
        (b'"text"', "one JSON object"),
        (b'{"a":NaN}', "invalid character"),
        (b'{"a":Infinity}', "invalid character"),
        (b'{"a":1}}', "trailing"),
        (b'{"a":1,}', "trailing comma"),
        (b'{"a":01}', "invalid number"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b'{"a":{"b":1', "truncated"),
        (b'{"a":1,"a":2}', "a stands there twice"),
        (b'{"a":1,"\\u0061":1}', "a stands there twice"),
        (b'{"a":12,"a":1}', "a stands there twice"),
        (b'{"a":"x\\",\\"a\\":1","a":"x"}', "a stands there twice"),
    ],
)
def test_what_is_no_request_is_refused_with_a_sentence(body: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        Members(body)


def test_names_fold_as_go_folds_them() -> None:
    """Ollama takes `OPTIONS` and even the Kelvin sign: what it would read is what the guard has to read."""
    members = Members('{"MODEL":"m","\u212aeep_alive":1,"\u017ftream":false}'.encode(), folds=True)
    assert members.names() == ("model", "keep_alive", "stream")
    with pytest.raises(BadRequest, match="model stands there twice"):
        Members(b'{"model":"a","Model":"b"}', folds=True)
    assert Members(b'{"model":"a","Model":"b"}').names() == ("model", "Model")


@pytest.mark.parametrize(
    "body",
    [
        '{"a":"ñ日🙂"}'.encode()[:-4] + b'"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',  # half a pair, in UTF-8
        b'{"a":"\\ud83d"}',
        b'{"a":["\\ude00"]}',
        b'{"a":"\\ud83dx"}',
    ],
)
def test_half_a_character_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=r"UTF-8|valid JSON"):
        check_text(body)


def test_whole_characters_pass() -> None:
    for body in ('{"a":"ñ日🙂"}'.encode(), b'{"a":"\\ud83d\\ude00 \\\\ud83d"}', b"{}"):
        check_text(body)
