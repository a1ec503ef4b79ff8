"""The measurements of the gateway: what is offered by name, how a result is kept, and a scripted engine."""

import asyncio
import json

import pytest

from bench.gateway.__main__ import MEASURES, main
from bench.gateway.result import Result, difference, document, ratio, table
from bench.gateway.scheduler import Scheduler
from fluido.testing.virtual_loop import VirtualLoop


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["bench.gateway", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_help_names_every_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in MEASURES)


def test_a_name_that_nobody_knows_is_told_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "cpu", "memory") == 2
    said = capsys.readouterr().err
    assert "memory" in said
    assert "batching" in said


def test_results_become_a_table_in_the_order_of_the_promises(tmp_path) -> None:
    late = Result("G10", "in time", {"fluido": {"share": 1.0}}, {"in time": 1.0}, met=True)
    soon = Result("G2", "0.3 ms", {}, {"p50": [0.4, 0.3, 0.5]}, met=False, note="two cores")
    for name, result in (("overload", late), ("added", soon)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document(name, result)))
    rows = table(tmp_path).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["G2", "G10"]
    assert "0.4 (0.3 to 0.5)" in rows[0]
    assert "**no**" in rows[0]


def test_an_interval_holds_its_estimate() -> None:
    one, other = [2.0 + at % 7 / 10 for at in range(100)], [1.0 + at % 5 / 10 for at in range(100)]
    estimate, low, high = difference(one, other, 50)
    assert low <= estimate <= high
    assert estimate == pytest.approx(1.1, abs=0.2)
    estimate, low, high = ratio(one, other)
    assert low <= estimate <= high


def test_a_scripted_engine_loads_as_ollama_does() -> None:
    """Who asks for the loaded model goes past those who wait; who waits gets it when nobody uses it."""
    loop = VirtualLoop()
    ended: list[tuple[str, float]] = []

    async def call(engine: Scheduler, at_s: float, model: str) -> None:
        await asyncio.sleep(at_s)
        async with engine.loaded(model):
            await asyncio.sleep(1.0)
        ended.append((model, round(loop.time() - began_s, 3)))

    async def scene() -> int:
        engine = Scheduler(("a", "b"), load_s=2.0)
        await asyncio.gather(
            *(call(engine, *each) for each in ((0.0, "a"), (0.1, "b"), (0.5, "a"), (3.0, "a")))
        )
        return engine.loads

    began_s = loop.time()
    assert loop.run(scene()) == 2
    assert ended == [("a", 1.0), ("a", 1.5), ("b", 4.5), ("a", 7.5)]
