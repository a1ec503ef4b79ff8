"""Looks after the parts and says when one is lost and when it is back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from app.core.incidents import Incident, Incidents, incidents
from app.core.ports import DependencyHealth

log = structlog.get_logger(__name__)

EVERY_S = 5.0


class Watch:
    """Asks `look` every `every_s`; each change of a part is one incident."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Sequence[DependencyHealth]]],
        *,
        every_s: float = EVERY_S,
        notes: Incidents = incidents,
    ) -> None:
        self._look = look
        self._every_s = every_s
        self._notes = notes
        self._was_ready: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to look."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="watch-parts")

    async def close(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def learn(self, found: Sequence[DependencyHealth]) -> None:
        """Compare with what was found before; the first look of all only tells what is away."""
        for part in found:
            if self._was_ready.get(part.name, True) and not part.ready:
                self._notes.note(Incident.PART_LOST, part=part.name, reason=part.detail)
            elif part.ready and not self._was_ready.get(part.name, True):
                self._notes.note(Incident.PART_BACK, part=part.name)
            self._was_ready[part.name] = part.ready

    async def _run(self) -> None:
        while True:
            try:
                self.learn(await self._look())
            except Exception:
                log.exception("the parts could not be looked at")
            await asyncio.sleep(self._every_s)
