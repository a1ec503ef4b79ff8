"""Times of the last minute."""

import pytest

from app.api.recent import RecentTimes


def test_what_is_older_than_two_halves_is_forgotten() -> None:
    now_s = 0.0
    recent = RecentTimes(half_s=30.0, clock=lambda: now_s)
    recent.record("/chat", first_s=0.1, total_s=1.0, failed=False)
    now_s = 31.0
    recent.record("/chat", first_s=0.1, total_s=3.0, failed=True)
    recent.record("/conversations", first_s=None, total_s=0.01, failed=False)
    chat, other = recent.read()
    assert (chat.route, chat.count, chat.failed) == ("/chat", 2, 1)
    assert chat.first_ms_p50 == pytest.approx(100, rel=0.04)
    assert chat.total_ms_p99 == pytest.approx(3000, rel=0.04)
    assert (other.first_ms_p99, other.count) == (0.0, 1)
    now_s = 61.0
    assert [(times.route, times.count) for times in recent.read()] == [("/chat", 1), ("/conversations", 1)]
    now_s = 500.0
    assert recent.read() == []
