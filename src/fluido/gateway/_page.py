"""The gateway's own pages: panel, figures as JSON, Prometheus metrics. Read-only and without secrets."""

import json
import os
import time
from collections.abc import Callable, Iterable
from importlib.resources import files

from fluido import __version__

from ._config import Config
from ._discovery import Engine
from ._observe import observed, sentences
from ._prometheus import Queue
from ._prometheus import text as metrics_text
from ._seen import Request, Row, Seen

ROOT = "/gateway"
STATE, METRICS = f"{ROOT}/state", "/metrics"
# Only what the pages themselves bring, and nothing of them inside another page.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
FILES = {
    ROOT: ("panel.html", b"text/html; charset=utf-8"),
    f"{ROOT}/panel.css": ("panel.css", b"text/css; charset=utf-8"),
    f"{ROOT}/panel.js": ("panel.js", b"text/javascript; charset=utf-8"),
}
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]


class Pages:
    """Answers the gateway's own addresses. `queues` and `engines` give what is there at that moment.

    `awaiting` tells how many wait for an engine that is away.
    """

    def __init__(
        self,
        config: Config,
        seen: Seen,
        engines: Callable[[], Iterable[Engine]],
        queues: Callable[[], Iterable[Queue]],
        awaiting: Callable[[], int] = lambda: 0,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._seen = seen
        self._engines = engines
        self._queues = queues
        self._awaiting = awaiting
        self._clock = clock
        folder = files(__package__) / "web"
        self._files = {path: (kind, (folder / name).read_bytes()) for path, (name, kind) in FILES.items()}

    def reply(self, method: str, path: str) -> Reply | None:
        """What is answered to a request: status, headers, body. None: it is not for these pages."""
        if path == f"{ROOT}/":
            # what the page refers to is relative, so that it also stands under /k/KEY
            return 308, [(b"location", b"../gateway")], b""
        if path not in self._files and path not in {STATE, METRICS}:
            return None
        if method not in {"GET", "HEAD"}:
            return self._whole(405, b"text/plain; charset=utf-8", b"GET is all there is here\n")
        if path == STATE:
            return self._whole(200, b"application/json", json.dumps(self.state()).encode())
        if path == METRICS:
            body = metrics_text(self._seen.rows, self._engines(), self._queues())
            return self._whole(200, b"text/plain; version=0.0.4; charset=utf-8", body.encode())
        return self._whole(200, *self._files[path])

    @staticmethod
    def _whole(status: int, kind: bytes, body: bytes) -> Reply:
        return status, [(b"content-type", kind), *HEADERS], body

    def state(self) -> dict[str, object]:
        """Everything that the panel shows and `fluido gateway doctor` reads."""
        seen, config = self._seen, self._config
        return {
            "gateway": "fluido",
            "version": __version__,
            "pid": os.getpid(),
            "now_s": self._clock(),
            "started_s": seen.started_s,
            "requests": seen.total,
            "observe": config.observe,
            "wishes": config.wishes,
            "keys": len(config.keys),
            "trouble": config.keys.trouble,
            "awaiting": self._awaiting(),
            "engines": [_engine(engine) for engine in self._engines()],
            "queues": [_queue(queue) for queue in self._queues()],
            "rows": [_row(row) for row in seen.rows],
            "differing": [
                {"client": c, "model": m, "option": o, "asked": a, "kept": k, "count": n}
                for c, m, o, a, k, n in seen.differing
            ],
            "last": [_request(request) for request in seen.last],
            "observed": sentences(observed(seen.kept)) if config.observe else [],
        }


def _engine(engine: Engine) -> dict[str, object]:
    return {
        "name": engine.name,
        "kind": engine.kind,
        "version": engine.version,
        "error": engine.error,
        "models": list(engine.models),
        "resident": dict(engine.resident),
        "slots": engine.slots,
        "window": engine.window,
    }


def _queue(queue: Queue) -> dict[str, object]:
    return {
        "engine": queue.name,
        "model": queue.model,
        "limit": round(queue.limit, 2),
        "inflight": queue.inflight,
        "waiting": queue.waiting,
    }


def _row(row: Row) -> dict[str, object]:
    return {name: _rounded(getattr(row, name)) for name in Row.__slots__}


def _request(request: Request) -> dict[str, object]:
    told = {name: _rounded(getattr(request, name)) for name in Request.__slots__}
    return {**told, "asked": dict(request.asked), "kept": dict(request.kept), "notes": list(request.notes)}


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
