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


def test_a_line_is_printed_now_and_then_where_there_is_no_terminal() -> None:
    now = 0.0
    output = io.StringIO()
    steps = Steps(100.0, console=Console(file=output, width=80), clock=lambda: now)
    with steps.shown():
        steps.say("people, round 1")
        now = 3.0
        steps.say("people, round 2")
        now = 25.0
        steps.advance(50.0)
        steps.say("people, round 3")
    assert output.getvalue().splitlines() == [
        "0:00  people, round 1; about 1:40 left",
        "0:25  people, round 3; about 0:25 left",
    ]


def test_a_terminal_gets_a_bar() -> None:
    output = io.StringIO()
    steps = Steps(10.0, console=Console(file=output, width=80, force_terminal=True))
    with steps.shown():
        steps.say("people")
        steps.advance(10.0)
    assert "0:00 left" in output.getvalue()
