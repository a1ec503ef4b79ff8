"""Labels nest, end, and are inherited by tasks."""

import asyncio

import pytest

from fluido import current_label, label

pytestmark = pytest.mark.anyio


async def test_labels_nest_and_end() -> None:
    assert current_label() == ""
    with label("outer") as name:
        assert (name, current_label()) == ("outer", "outer")
        with label("inner"):
            assert current_label() == "inner"
        assert current_label() == "outer"
    assert current_label() == ""


async def test_one_label_object_can_be_entered_twice() -> None:
    report = label("report")
    with report, label("other"), report:
        assert current_label() == "report"
    assert current_label() == ""


async def test_a_task_inherits_the_label() -> None:
    async def child() -> str:
        return current_label()

    with label("report"):
        task = asyncio.create_task(child())
    assert await task == "report"
