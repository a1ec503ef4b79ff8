import json

import pytest

from fluido.llm._errors import StreamBroken
from fluido.llm.engines._wire import LineSplitter, decoded, events, ndjson

pytestmark = pytest.mark.anyio


async def cut(data: bytes, size: int):
    for start in range(0, len(data), size):
        yield data[start : start + size]


TEXTS = ["ñandú", "日本", "🙂", 'a "quoted"\nline', ""]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_ndjson_survives_any_cut(size: int) -> None:
    data = "".join(json.dumps({"t": t}, ensure_ascii=False) + "\n\n" for t in TEXTS).encode()
    assert [o["t"] async for o in ndjson(cut(data, size))] == TEXTS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_events_survive_any_cut_and_skip_what_is_not_data(size: int, newline: bytes) -> None:
    data = b": ping\n\nevent: x\nid: 3\ndata: 1\n\n:\ndata:2\ndata: 3\n\nretry: 5\n\ndata: \xc3\xb1"
    data = data.replace(b"\n", newline)
    assert [e async for e in events(cut(data, size))] == [b"1", b"2\n3", "ñ".encode()]


async def test_an_error_field_is_passed_on() -> None:
    data = b'error: {"code":500}\n\n'
    assert [decoded(e) async for e in events(cut(data, 4))] == [{"error": {"code": 500}}]


@pytest.mark.parametrize("line", [b"{", b"[1]", b"nonsense", b'"text"', b"\xff\xfe"])
def test_a_torn_line_is_a_torn_stream(line: bytes) -> None:
    with pytest.raises(StreamBroken):
        decoded(line)


def test_a_line_without_end_is_refused() -> None:
    splitter = LineSplitter(max_line_bytes=10)
    assert splitter.feed(b"12345\n67890") == [b"12345"]
    with pytest.raises(StreamBroken):
        splitter.feed(b"123456")
