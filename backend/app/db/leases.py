"""Short leases on idempotency keys: who answers renews its own, so a dead replica holds nobody up."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from .failures import storage

log = structlog.get_logger(__name__)

# Two renewals may fail before somebody else may answer. A retry waits no longer than this for a dead replica.
LEASE_S = 3.0
RENEW_S = 1.0

# Each row is found by its primary key. One that was answered, given back or taken over is left alone.
_RENEW = sa.text(
    """
    UPDATE requests r SET answering_until = clock_timestamp() + CAST(:lease AS interval)
    FROM unnest(CAST(:tenants AS text[]), CAST(:users AS text[]), CAST(:keys AS text[]),
                CAST(:holders AS uuid[])) AS mine(t, u, k, h)
    WHERE r.tenant = mine.t AND r.user_id = mine.u AND r.idempotency_key = mine.k AND r.holder = mine.h
      AND r.answer_id IS NULL
    RETURNING r.holder
    """
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to answer the message of a key, until it runs out. `holder` is new with every claim."""

    user_id: str
    key: str
    holder: UUID
    tenant: str = ""


class Leases:
    """Renews every lease of this process by one statement each `renew_s`, in one task while there are any.

    What is held is bounded by what is answered at a time: a lease is dropped when its answer settles or its
    request is abandoned. A renewal that fails is tried again at the next turn and troubles no answer: a lease
    that ran out meanwhile is only lost when another replica took it, which `RequestLedger.settle` finds out.
    """

    def __init__(self, engine: AsyncEngine, *, lease_s: float = LEASE_S, renew_s: float = RENEW_S) -> None:
        if not 0 < renew_s < lease_s:
            raise ValueError(f"renew_s {renew_s} must be above 0 and below lease_s {lease_s}")
        self.lease_s = lease_s
        self._renew_s = renew_s
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._held: set[Lease] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._is_failing = False

    def __len__(self) -> int:
        """How many are held now."""
        return len(self._held)

    def hold(self, lease: Lease) -> None:
        """Renew `lease` from now on."""
        self._held.add(lease)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew_until_none(), name="renew-leases")

    def drop(self, lease: Lease) -> None:
        """Renew `lease` no more. Idempotent."""
        self._held.discard(lease)

    async def close(self) -> None:
        """Renew nothing any more; what is held runs out. Idempotent."""
        self._held.clear()
        if self._renewing is not None:
            self._renewing.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewing

    async def _renew_until_none(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time() + self._renew_s
        await asyncio.sleep(self._renew_s)
        while self._held:
            await self._renew_in_time()
            # One that took long is followed at once: what is left of the lease counts from the one before.
            next_s = max(next_s + self._renew_s, loop.time())
            await asyncio.sleep(next_s - loop.time())

    async def _renew_in_time(self) -> None:
        try:
            # A statement that hangs must not keep the next one, which may get another connection, waiting.
            async with asyncio.timeout(self.lease_s - self._renew_s):
                await self._renew()
        except Exception as error:  # noqa: BLE001 - whatever PostgreSQL does wrong, the answers go on
            if not self._is_failing:
                log.warning(
                    "leases not renewed", held=len(self._held), reason=str(error) or "no answer in time"
                )
            self._is_failing = True
        else:
            self._is_failing = False

    async def _renew(self) -> None:
        sent = tuple(self._held)
        values = {
            "lease": timedelta(seconds=self.lease_s),
            "tenants": [lease.tenant for lease in sent],
            "users": [lease.user_id for lease in sent],
            "keys": [lease.key for lease in sent],
            "holders": [lease.holder for lease in sent],
        }
        with storage():
            async with self._engine.connect() as connection:
                kept = set((await connection.execute(_RENEW, values)).scalars())
        for lease in sent:
            if lease.holder not in kept and lease in self._held:
                log.info("lease lost: another replica answers")
                self._held.discard(lease)
