"""How far a run is and how long it takes: a bar on a terminal, a line now and then where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.text import Text

EVERY_S = 10.0
"""Seconds between two lines where the output is a file."""


class _TimeLeft(ProgressColumn):
    def __init__(self, left_s: Callable[[], float]) -> None:
        super().__init__()
        self._left_s = left_s

    def render(self, task: object) -> Text:
        del task
        return Text(f"{_clock(self._left_s())} left")


class Steps:
    """Counts planned seconds; a step that takes longer than planned stretches what is left, not the bar."""

    def __init__(
        self, planned_s: float, *, console: Console, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.planned_s = planned_s
        self.done_s = 0.0
        self._console = console
        self._clock = clock
        self._began = clock()
        self._step_began = self._began
        self._told_s = -EVERY_S
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), _TimeLeft(self.left_s), console=console
        )
        self._task: TaskID = self._bar.add_task("starting", total=planned_s)

    def left_s(self) -> float:
        """Planned seconds to go, stretched by how much slower than planned the finished steps were."""
        now = self._clock()
        pace = (self._step_began - self._began) / self.done_s if self.done_s else 1.0
        return max(0.0, (self.planned_s - self.done_s) * pace - (now - self._step_began))

    def say(self, what: str) -> None:
        """What is going on now."""
        self._bar.update(self._task, description=what)
        since_s = self._clock() - self._began
        if not self._console.is_terminal and since_s - self._told_s >= EVERY_S:
            self._told_s = since_s
            self._console.print(
                f"{_clock(since_s)}  {what}; about {_clock(self.left_s())} left", highlight=False
            )

    def advance(self, planned_s: float) -> None:
        """A step that was planned to take that long is over."""
        self.done_s += planned_s
        self._step_began = self._clock()
        self._bar.update(self._task, completed=self.done_s)

    @contextmanager
    def shown(self) -> Iterator["Steps"]:
        """Shows the bar where the output is a terminal."""
        if not self._console.is_terminal:
            yield self
            return
        with self._bar:
            yield self


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
