"""API keys and their quota."""

import hmac
import time
from collections.abc import Callable, Sequence

from fastapi import Request
from starlette.exceptions import HTTPException

from .errors import QuotaExceeded


class Door:
    """Checks the key of a request and takes one token of its quota.

    Without keys every caller passes as one (Settings lets that happen on loopback only). The quota
    is a bucket per key that holds `requests_per_minute` tokens and refills evenly; 0 means none.
    """

    def __init__(
        self, keys: Sequence[str], requests_per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = [key.encode() for key in keys]
        self._capacity = float(requests_per_minute)
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}

    async def __call__(self, request: Request) -> None:
        caller = self._identify(request)
        if self._capacity:
            self._take(caller)

    def _identify(self, request: Request) -> int:
        if not self._keys:
            return 0
        given = request.headers.get("x-api-key", "")
        if not given:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
        # Every key is compared, so the time taken tells nothing about which one came close.
        matches = [hmac.compare_digest(given.encode(), key) for key in self._keys]
        if not any(matches):
            raise HTTPException(
                401, "Send a valid key in the header X-API-Key.", headers={"WWW-Authenticate": "Bearer"}
            )
        return matches.index(True)

    def _take(self, caller: int) -> None:
        now = self._clock()
        tokens, at = self._buckets.get(caller, (self._capacity, now))
        rate = self._capacity / 60.0
        tokens = min(self._capacity, tokens + max(0.0, now - at) * rate)
        if tokens < 1.0:
            self._buckets[caller] = (tokens, now)
            sentence = f"This key may send {int(self._capacity)} requests a minute."
            raise QuotaExceeded(sentence, retry_after_s=(1.0 - tokens) / rate)
        self._buckets[caller] = (tokens - 1.0, now)
