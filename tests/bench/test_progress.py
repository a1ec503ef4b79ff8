"""Time left comes from planned seconds and the pace so far."""

import io

from rich.console import Console

from bench.progress import Steps


def test_time_left_follows_the_pace() -> None:
    now = 0.0
    steps = Steps(100.0, console=Console(file=io.StringIO()), clock=lambda: now)
    assert steps.left_s() == 100
    now = 40.0
    steps.advance(20.0)
    assert steps.left_s() == 160
    now = 60.0
    assert steps.left_s() == 140
    now = 900.0
    assert steps.left_s() == 0


def test_the_bar_is_printed_where_there_is_no_terminal() -> None:
    output = io.StringIO()
    steps = Steps(10.0, console=Console(file=output, width=80))
    with steps.shown():
        steps.say("returning users, V1")
        steps.advance(10.0)
    assert "returning users, V1" in output.getvalue()
    assert "0:00 left" in output.getvalue()
