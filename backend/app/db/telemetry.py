"""Where the time of every answer went, written behind: the chat never waits for it."""

import math
from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.adaptive_buffers import DynamicBufferConfig
from fluido import FlowStats, Sample
from fluido.laws import BatchCap
from fluido.llm import Timings
from fluido.sqlalchemy import write_behind

from .schema import timings as table

STALENESS_S = 0.1
# The columns are four bytes wide; an engine may count what it likes.
MOST = 2**31 - 1


def counted(number: float) -> int:
    """A count of an engine, within what is stored; what is no number counts nothing."""
    return 0 if math.isnan(number) else int(min(max(number, 0), MOST))


class Telemetry:
    """One row per answer in the table `timings`, at the latest `STALENESS_S` after it."""

    def __init__(self, engine: AsyncEngine, policy: DynamicBufferConfig) -> None:
        self._rows = write_behind(
            engine,
            table,
            key=("answer_id",),
            max_pending=int(policy.need("max_waiting")),
            max_bytes=policy.need("write_buffer_size"),
            staleness_s=STALENESS_S,
            law=BatchCap(ceiling=policy.need("batch_size")),
        )

    async def record(self, answer_id: int, timings: Timings, stages_ms: Mapping[str, float]) -> None:
        """Put one row into the buffer. Waits only while the buffer is full."""
        await self._rows.put(
            {
                "answer_id": answer_id,
                "engine": timings.engine,
                "cache_ms": stages_ms.get("cache", 0.0),
                "store_ms": stages_ms.get("store", 0.0),
                "queue_ms": timings.queue_s * 1e3,
                "load_ms": timings.load_s * 1e3,
                "prefill_ms": timings.prefill_s * 1e3,
                "decode_ms": timings.decode_s * 1e3,
                "prompt_tokens": counted(timings.prompt_tokens),
                "cached_tokens": None if timings.cached_tokens is None else counted(timings.cached_tokens),
                "dropped_messages": counted(timings.dropped_messages),
            }
        )

    async def close(self) -> None:
        """Write what is buffered. Idempotent."""
        await self._rows.close()

    def learn(self, sample: Sample) -> None:
        """Tell the law of the cap of a write that somebody else made."""
        self._rows.learn(sample)

    def live(self) -> dict[str, float | None]:
        """The values in force now, by the names of `DynamicBufferConfig`."""
        return {
            "batch_size": round(self._rows.stats().value),
            "max_waiting": self._rows.max_pending,
            "write_buffer_size": round(self._rows.max_bytes),
        }

    def stats(self) -> FlowStats:
        """Return the buffer at this moment."""
        return self._rows.stats()
