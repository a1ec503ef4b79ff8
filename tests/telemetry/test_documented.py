"""docs/metrics.md, the dashboard and the exporter agree on names, types and labels."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.traffic import Measured, Traffic
from app.cache.dynamic_redis import DynamicRedisCache
from app.db.conversations import ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.services.history import History
from fluido import Ladder, Limiter
from fluido.llm import OpenAIEngine
from fluido.llm.admission._station import Station

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| (gauge|counter|histogram) \|([^|]*)\| [^|]+ \| [^|]+ \|$", re.MULTILINE)
Shape = tuple[str, frozenset[str]]


def documented() -> dict[str, Shape]:
    text = (ROOT / "docs" / "metrics.md").read_text()
    return {
        name: (kind, frozenset(filter(None, (label.strip() for label in labels.split(",")))))
        for name, kind, labels in ROW.findall(text)
    }


async def scraped() -> Traffic:
    law = Ladder(start=15, ceiling=96)
    law._pairs.compared = {"compared": 21.0, "with": 15.0, "gain": 0.08, "error": 0.02}
    limiter = Limiter(law, name="db", max_waiting=1)
    limiter.pin(1)
    station = Station(OpenAIEngine("http://127.0.0.1:9"))
    db = DynamicPostgreSQLSession("postgresql+asyncpg://nobody@127.0.0.1:9/nothing")
    history = History(ConversationStore(db.engine), DynamicRedisCache())
    traffic = Traffic(lambda: [limiter, station, *history.flows()])

    async def app(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b"x"})  # type: ignore[operator]

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    await Measured(app, traffic)({"type": "http", "method": "GET"}, nothing, nothing)  # type: ignore[arg-type]
    return traffic


async def exported() -> dict[str, Shape]:
    traffic = await scraped()
    found: dict[str, Shape] = {}
    for family in traffic.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert family.samples, name
        found[name] = (family.type, frozenset(labels))
    return found


def expressions() -> Iterator[str]:
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "sentinel.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["title"]
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query")


async def test_the_page_lists_exactly_what_is_exported() -> None:
    assert documented() == await exported()


async def test_the_dashboard_uses_only_names_and_labels_that_exist() -> None:
    known = await exported()
    used = 0
    for expression in expressions():
        for name, labels in re.findall(r"\b((?:fluido|sentinel)_\w+)(?:\{([^}]*)\})?", expression):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert base in known, name
            for label in re.findall(r"(\w+)=~?\"", labels):
                assert label in known[base][1] | {"instance", "le"}, (name, label)
            used += 1
    assert used >= 15


async def test_promtool_has_no_complaint() -> None:
    """Prometheus' own judge of names, types and labels: Debian's package `prometheus` has it."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: what /metrics answers is NOT judged by it here")
    text = (await scraped()).render()
    done = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert not done.stderr + done.stdout
