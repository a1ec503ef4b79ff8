"""The test of the property test: each of these faults, put into the code on purpose, must be found."""

import asyncio
import inspect
import textwrap
from typing import Any

import pytest

import fluido.redis._retrying
from fluido.redis._link import Link
from fluido.redis._mux import Mux
from fluido.redis._watch import Watch

from . import scenario
from .scenario import Tally, play

MOST_SEEDS = 3000
SKIPPING = """future = take_next()
        while future.done() and pending:
            future = take_next()
"""

MUTANTS: dict[str, tuple[Any, str, str, str]] = {
    "a cancelled caller gives its reply to the next": (
        Link,
        "_read_replies",
        "future = take_next()\n",
        SKIPPING,
    ),
    "a command cancelled before the write is sent all the same": (
        Link,
        "_drop_cancelled",
        "self._chunks = [chunk for _, chunk in kept]",
        "pass",
    ),
    "a run is written in parts": (
        Link,
        "submit_run",
        "self._early_now = sys.maxsize",
        "pass",
    ),
    "a push takes the place of a reply": (
        Link,
        "_read_replies",
        "self._pushes.take(reply)\n",
        "pending and pending.popleft()\n",
    ),
    "a waiter cancelled with room in its hand keeps it": (
        Mux,
        "_give_back",
        "waiter.turn.result().claim(waiter.wanted)",
        "pass",
    ),
    "who waits for a link that does not open is forgotten": (
        Mux,
        "_opened",
        "self._queue.refuse(waiter, NotOpened(copy_of(error)))",
        "pass",
    ),
    "safe delivery repeats what was sent": (
        fluido.redis._retrying,
        "failure_in",
        "again=repeatable or not reply.sent",
        "again=True",
    ),
    "a newcomer overtakes those who were given room": (
        Mux,
        "_serve",
        "not self._queue.waiting and not link.granted and link.has_room(ONE)",
        "not self._queue.waiting and link.has_room(ONE)",
    ),
    "who waits behind a late reply is timed out with it": (
        Watch,
        "_judge",
        "head = link.pending[0]",
        "head = link.pending[-1]",
    ),
    "a write that is held up is sent over another link as well": (
        Watch,
        "_move_reads",
        "only_reads_packed(chunk)",
        "True",
    ),
    "a part of a run moves to another link": (
        Watch,
        "_move_reads",
        "future not in fixed",
        "True",
    ),
    "a loop takes the link of another": (
        Link,
        "submit",
        "asyncio.get_running_loop() is not self.loop",
        "False",
    ),
    "a lost link takes its unsent commands with it": (
        Link,
        "_settle",
        "for future in self._futures:\n",
        "for future in ():\n",
    ),
}


def mutate(patch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Compile a method anew with `old` replaced by `new`."""
    original = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(old) == 1, f"{name} has changed: say again what to break"
    scope = vars(inspect.getmodule(original)).copy()
    exec(source.replace(old, new), scope)  # noqa: S102  # our own source with one line changed
    patch.setattr(owner, name, scope[name])


# What only shows in scenarios of its own.
FOCUS = {
    "who waits behind a late reply is timed out with it": "slow",
    "a write that is held up is sent over another link as well": "slow",
    "a part of a run moves to another link": "slow",
    "a loop takes the link of another": "loops",
}


async def first_finding(tally: Tally, focus: str) -> str | None:
    for seed in range(MOST_SEEDS):
        wrong = await play(seed, tally, focus)
        if wrong:
            return wrong[0]
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", MUTANTS)
def test_the_scenarios_find(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch, *MUTANTS[what])
    monkeypatch.setattr("asyncio.log.logger.disabled", True)
    monkeypatch.setattr(scenario, "PATIENCE_S", 3.0)  # many a fault makes somebody wait for ever
    assert asyncio.run(first_finding(Tally(), FOCUS.get(what, "plain"))), f"nobody noticed that {what}"
