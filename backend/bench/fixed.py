"""`fixed`: Sentinel with its limits nailed to constants, `bench.fixed:app` for an ASGI server.

What it gains over V1 is structure (shared connections, queues of ours, a stable prefix); what V2 gains over
it is adapting. The constants are V1's: 15 connections, and as many calls as the engine has slots.
"""

from app.core.settings import Settings
from app.server import application
from app.services.system import SentinelSystem

CONNECTIONS = 15
SLOTS = 4


class PinnedSystem(SentinelSystem):
    """Sentinel's system, whose laws are not listened to once it is open."""

    async def open(self) -> None:
        """Open it, then pin what its laws would move."""
        await super().open()
        for station in self.sentinel.dispatcher.flows():
            facts = station.facts
            station.pin(float((facts.slots if facts else None) or SLOTS))
        self.db.pool.pin(CONNECTIONS)


app = application(Settings(), system_class=PinnedSystem)
