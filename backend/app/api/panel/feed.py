"""One producer for all who look at the live page. Nobody looks: nothing is computed."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable

import structlog

from fluido.errors import Closed, LimitReached

from .frame import Frames, Plain

PERIOD_S = 1.0
HISTORY_FRAMES = 300
MAX_VIEWERS = 16
LOOK_EVERY = 5

log = structlog.get_logger(__name__)


class Viewer:
    """One open page. It holds the newest event only: who reads slowly misses frames, and holds nothing up."""

    __slots__ = ("_event", "_news")

    def __init__(self) -> None:
        self._event = b""
        self._news = asyncio.Event()

    def show(self, event: bytes) -> None:
        """Put the newest event in place of one that was not read."""
        self._event = event
        self._news.set()

    async def next(self) -> bytes:
        """The newest event; empty when there will be none any more."""
        await self._news.wait()
        self._news.clear()
        return self._event


class Feed:
    """Makes a frame every `period_s` while somebody looks, encodes it once, and hands it to every viewer.

    `is_leaving` tells that the replica goes: the streams end, so that the pages find another one. The last
    `history` frames are kept in short form, for the curves of a page that is opened again.
    """

    def __init__(
        self,
        frames: Frames,
        *,
        period_s: float = PERIOD_S,
        max_viewers: int = MAX_VIEWERS,
        history: int = HISTORY_FRAMES,
        is_leaving: Callable[[], bool] = bool,
    ) -> None:
        self._frames = frames
        self._period_s = period_s
        self._max_viewers = max_viewers
        self._history: deque[Plain] = deque(maxlen=history)
        self._viewers: set[Viewer] = set()
        self._producer: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        self._is_leaving = is_leaving
        self._is_closed = False

    @property
    def viewers(self) -> int:
        """How many look now."""
        return len(self._viewers)

    @property
    def is_producing(self) -> bool:
        """Whether frames are being made."""
        return self._producer is not None

    def check_room(self) -> None:
        """Raise what `watch` would meet now: LimitReached, or Closed."""
        if self._is_closed or self._is_leaving():
            raise Closed("Sentinel is stopping")
        if len(self._viewers) >= self._max_viewers:
            raise LimitReached(
                f"{self._max_viewers} pages look already: close one of them.",
                waiting=0,
                retry_after_s=10.0,
            )

    async def watch(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events: one `history`, then a `frame` per period, `end` when the server stops.

        Raises LimitReached when too many look, Closed when the server stops.
        """
        self.check_room()
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            if self._producer is None:
                self._producer = asyncio.create_task(self._produce(), name="panel-producer")
            yield event("history", {"period_s": self._period_s, "frames": list(self._history)})
            while data := await viewer.next():
                yield data
            yield event("end", {})
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                await self._rest()

    async def close(self) -> None:
        """Tell every page that the server stops, and end their streams. Idempotent."""
        self._is_closed = True
        self._tell(b"")
        await self._rest()

    def _tell(self, data: bytes) -> None:
        for viewer in self._viewers:
            viewer.show(data)

    async def _rest(self) -> None:
        tasks = [task for task in (self._producer, self._look) if task is not None]
        self._producer = self._look = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _produce(self) -> None:
        turn = 0
        while not self._is_leaving():
            if turn % LOOK_EVERY == 0 and (self._look is None or self._look.done()):
                self._look = asyncio.create_task(self._look_around(), name="panel-health")
            turn += 1
            try:
                frame = self._frames.make()
            except Exception:  # a page that shows nothing must not end the one that shows it next
                log.exception("no frame for the live page")
            else:
                self._history.append(_short(frame))
                self._tell(event("frame", frame))
            await asyncio.sleep(self._period_s)
        self._tell(b"")

    async def _look_around(self) -> None:
        try:
            await self._frames.look()
        except Exception as error:  # noqa: BLE001 - health is not what this page may fail by
            log.warning("no health for the live page", reason=str(error))


def event(name: str, data: Plain) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _short(frame: Plain) -> Plain:
    """What the curves need of a frame."""
    flows, routes = frame["flows"], frame["routes"]
    assert isinstance(flows, list)  # noqa: S101 - Frames.make says so
    assert isinstance(routes, list)  # noqa: S101
    return {
        "at_s": frame["at_s"],
        "flows": {
            row["name"]: [row["value"], row["inflight"], row["waiting"], row["batch"]] for row in flows
        },
        "routes": {row["route"]: [row["first_ms_p50"], row["first_ms_p99"]] for row in routes},
    }
