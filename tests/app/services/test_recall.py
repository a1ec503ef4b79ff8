"""What this process remembers is bounded three ways."""

from app.services.recall import TURN_BYTES, Recall
from app.services.transcript import Transcript, Turn


def said(text: str, last_id: int = 1) -> Transcript:
    return Transcript(last_id, (Turn("user", text),), "ana")


def test_the_transcript_kept_longest_ago_goes_first() -> None:
    recall = Recall[str](2)
    recall.keep("a", said("a"))
    recall.keep("b", said("b"))
    recall.keep("a", said("again"))
    recall.keep("c", said("c"))
    assert (recall.of("a"), recall.of("b"), recall.of("c")) == (said("again"), None, said("c"))
    assert len(recall) == 2


def test_text_is_bounded_by_what_it_takes_in_memory() -> None:
    recall = Recall[str](100, max_bytes=5_000)
    for name in "abcdef":
        recall.keep(name, said(name * 1_000))
        assert recall.bytes <= 5_000
    assert [name for name in "abcdef" if recall.of(name)] == ["c", "d", "e", "f"]
    recall.keep("g", said("語" * 2_000))  # two bytes a character
    assert [name for name in "abcdefg" if recall.of(name)] == ["g"]
    recall.keep("h", said("h" * 6_000))
    assert (len(recall), recall.bytes) == (0, 0)


def test_what_is_forgotten_or_replaced_gives_its_room_back() -> None:
    recall = Recall[str](10)
    recall.keep("a", said("x" * 500))
    recall.keep("a", said(""))
    assert TURN_BYTES < recall.bytes < 500
    recall.forget("a")
    recall.forget("a")
    assert (recall.of("a"), recall.bytes, len(recall)) == (None, 0, 0)


def test_nothing_is_handed_out_after_its_time() -> None:
    now_s = 0.0
    recall = Recall[str](10, max_age_s=60.0, clock=lambda: now_s)
    recall.keep("a", said("a"))
    now_s = 59.0
    assert recall.of("a") == said("a")
    recall.keep("b", said("b"))
    now_s = 60.0
    assert (recall.of("a"), recall.of("b")) == (None, said("b"))
    recall.keep("c", said("c"))
    assert len(recall) == 2
