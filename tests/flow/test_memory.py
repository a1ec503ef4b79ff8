"""What was learned outlives a restart, and whatever is wrong with it costs nobody anything."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest

from fluido import Ladder, adaptive_limiter
from fluido.flow._memory import SAVE_EVERY_S, Kept, MemoryFile, MemoryStore, recalled, store_of
from fluido.laws._fixed import Fixed
from fluido.laws._rungs import Memory

pytestmark = pytest.mark.anyio


class Learned:
    """A law as far as memory goes."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def memory(self) -> Memory:
        return Memory(self.limit, 15.0)


class Shelf:
    """A store of somebody's own; `broken` makes it fail."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.saves = 0
        self.threads: set[int] = set()
        self.broken = False

    def load(self, key: str, /) -> bytes | None:
        if self.broken:
            raise ConnectionError("away")
        found = self.texts.get(key)
        return None if found is None else found.encode()

    def save(self, key: str, text: str, /) -> None:
        self.saves += 1
        self.threads.add(threading.get_ident())
        if self.broken:
            raise ConnectionError("away")
        self.texts[key] = text


def kept(place: object, limit: float, key: str = "db") -> Kept:
    return Kept(place, key, Learned(limit))  # type: ignore[arg-type]


async def written(keeper: Kept) -> None:
    assert keeper._writing is not None
    await asyncio.wait_for(keeper._writing, 20)


def test_what_is_saved_is_recalled_beside_that_of_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "limits.json"
    kept(path, 57.0).save()
    kept(path, 8.0, "other").save()
    assert recalled(path, "db") == Memory(57.0, 15.0)
    assert recalled(str(path), "other") == Memory(8.0, 15.0)
    assert recalled(path, "nobody") is None
    assert [each.name for each in path.parent.iterdir()] == ["limits.json"], "no half-written file is left"


def test_nothing_learned_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "limits.json"
    kept(path, 15.0).save()
    Kept(path, "db", Fixed(4)).save()
    assert not path.exists()


def test_a_limit_that_came_home_is_written(tmp_path: Path) -> None:
    path, law = tmp_path / "limits.json", Learned(57.0)
    keeper = Kept(path, "db", law)  # type: ignore[arg-type]
    keeper.save()
    law.limit = 15.0
    keeper.save()
    assert recalled(path, "db") == Memory(15.0, 15.0)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "null",
        "not json",
        '{"limit": 57.0}',
        '{"limit": "many", "reference": 15}',
        '{"limit": NaN, "reference": 15}',
        '{"limit": Infinity, "reference": 15}',
        '{"limit": -4, "reference": 15}',
        '{"limit": [57], "reference": 15}',
    ],
)
def test_a_memory_that_is_none_is_ignored_with_a_line(text: str, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.texts["db"] = text
    with caplog.at_level(logging.WARNING, "fluido.memory"):
        assert recalled(shelf, "db") is None
    assert "db is ignored" in caplog.text


@pytest.mark.parametrize(
    "content", [b'{"what": "fluido limits", "flo', b'{"what": "fluido limits", "flows": 3}']
)
def test_a_damaged_file_is_ignored_and_written_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "limits.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "fluido.memory"):
        assert recalled(path, "db") is None
    assert "damaged" in caplog.text
    kept(path, 57.0).save()
    assert recalled(path, "db") == Memory(57.0, 15.0)


@pytest.mark.parametrize("content", [b"PORT=8000\n", b'{"name": "an app"}', bytes(range(256))])
def test_a_file_that_is_somebody_elses_is_left_as_it_is(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "fluido.memory"):
        assert recalled(path, "db") is None
        kept(path, 57.0).save()
    assert path.read_bytes() == content
    assert "not a memory of limits" in caplog.text


def test_a_place_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    law = Learned(57.0)
    keeper = Kept(tmp_path / "file" / "limits.json", "db", law)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "fluido.memory"):
        keeper.save()
        keeper.save()
    assert caplog.text.count("cannot be saved") == 1


def test_what_is_neither_a_path_nor_a_store_is_refused() -> None:
    with pytest.raises(TypeError, match="path or an object with load"):
        store_of(7)  # type: ignore[arg-type]
    assert isinstance(Shelf(), MemoryStore)
    assert isinstance(store_of("x"), MemoryFile)


async def test_a_running_flow_saves_now_and_then_and_not_in_the_loop() -> None:
    shelf, law = Shelf(), Learned(57.0)
    keeper = Kept(shelf, "db", law)  # type: ignore[arg-type]
    keeper.save_soon(0.0)
    law.limit = 96.0
    keeper.save_soon(1.0)  # too soon
    await written(keeper)
    assert (shelf.saves, json.loads(shelf.texts["db"])["limit"]) == (1, 57.0)
    assert threading.get_ident() not in shelf.threads
    keeper.save_soon(SAVE_EVERY_S + 1.0)
    await written(keeper)
    assert json.loads(shelf.texts["db"])["limit"] == 96.0


async def test_a_store_that_is_away_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.broken = True
    with caplog.at_level(logging.WARNING, "fluido.memory"):
        flow = adaptive_limiter(4, max=50, name="api", memory=shelf)
        async with flow.permit():
            pass
        flow.close()
    assert "api is ignored" in caplog.text


def test_a_law_offers_what_it_has_not_tried_yet() -> None:
    """A process that is stopped before it had work must not forget what the one before it learned."""
    law = Ladder(start=15, ceiling=96, remembered=Memory(57.0, 15.0))
    assert law.memory().limit == pytest.approx(57, rel=0.2)
    assert (law.limit, law.value) == (15, 15.0), "it begins where the user was"
