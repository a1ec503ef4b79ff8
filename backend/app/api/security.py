"""API keys: who a caller is (its tenant), its quota, and a brake on guesses."""

import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import Request
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException

from app.core.incidents import Incident, incidents
from app.core.ports import Owner

from .errors import QuotaExceeded

# Wrong keys a minute before more of them are told to wait; a right key always passes.
WRONG_PER_MINUTE = 30.0


# What `/docs` offers to type a key into. The door itself reads the headers, as bytes.
SCHEMES = (
    APIKeyHeader(name="X-API-Key", scheme_name="key", auto_error=False),
    HTTPBearer(scheme_name="bearer", auto_error=False),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who holds the key. An heir is the only tenant there is."""

    tenant: str = ""
    is_heir: bool = False

    def owner(self, user_id: str) -> Owner:
        """A user of this caller's."""
        return Owner(user_id, self.tenant, self.is_heir)


class Bucket:
    """A bucket of `capacity` tokens that refills evenly within a minute."""

    def __init__(self, capacity: float, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._clock = clock
        self._tokens = capacity
        self._at_s = clock()

    def take(self) -> float:
        """Take one; return 0.0, or the seconds until there is one."""
        now_s = self._clock()
        rate = self._capacity / 60.0
        self._tokens = min(self._capacity, self._tokens + max(0.0, now_s - self._at_s) * rate)
        self._at_s = now_s
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / rate
        self._tokens -= 1.0
        return 0.0


class Door:
    """Checks the key of a request, notes its tenant and takes one token of its quota.

    `keys` maps each key to its tenant. Without keys every caller passes as one (Settings lets that happen on
    loopback only). The quota is a bucket per tenant that holds `requests_per_minute` tokens; 0 means none.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        requests_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = [(_spellings(key), tenant) for key, tenant in keys.items()]
        self._is_heir = len(set(keys.values())) == 1
        self._capacity = float(requests_per_minute)
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}
        self._wrong = Bucket(WRONG_PER_MINUTE, clock)

    async def __call__(self, request: Request) -> None:
        caller = self._identify(request)
        request.state.caller = caller
        if self._capacity:
            self._take(caller.tenant)

    def _identify(self, request: Request) -> Caller:
        if not self._keys:
            return Caller()
        given = _given(request)
        # Every key is compared, so the time taken tells nothing about which one came close.
        matches = [
            tenant
            for spellings, tenant in self._keys
            if sum(hmac.compare_digest(given, spelling) for spelling in spellings)
        ]
        if not matches:
            self._refuse()
        return Caller(matches[0], self._is_heir)

    def _refuse(self) -> None:
        incidents.note(Incident.WRONG_KEYS)
        wait_s = self._wrong.take()
        if wait_s:
            raise QuotaExceeded("Too many wrong keys: wait before the next try.", retry_after_s=wait_s)
        raise HTTPException(
            401, "Send a valid key in the header X-API-Key.", headers={"WWW-Authenticate": "Bearer"}
        )

    def _take(self, tenant: str) -> None:
        bucket = self._buckets.get(tenant)
        if bucket is None:
            bucket = self._buckets[tenant] = Bucket(self._capacity, self._clock)
        wait_s = bucket.take()
        if wait_s:
            sentence = f"This key may send {int(self._capacity)} requests a minute."
            raise QuotaExceeded(sentence, retry_after_s=wait_s)


def caller_of(request: Request) -> Caller:
    """Whom the door let in."""
    caller: Caller = request.state.caller
    return caller


def _given(request: Request) -> bytes:
    """The key as it was sent. The scheme of `Authorization` has no case; a bare key is taken too."""
    headers = dict(request.scope["headers"])
    if given := bytes(headers.get(b"x-api-key", b"")):
        return given
    authorization = bytes(headers.get(b"authorization", b"")).strip()
    scheme, _, rest = authorization.partition(b" ")
    return rest.strip() if scheme.lower() == b"bearer" else authorization


def _spellings(key: str) -> tuple[bytes, ...]:
    """A key with other letters than ASCII's is sent as UTF-8 by some clients and as Latin-1 by others."""
    try:
        return tuple({key.encode(), key.encode("latin-1")})
    except UnicodeEncodeError:
        return (key.encode(),)
