"""Sentinel's variants for an ASGI server, `bench.variants:app`: the variables of `app.main:app`, and these.

- BENCH_IN_FLIGHT, BENCH_CONNECTIONS: V2 with constants in the place of its laws;
- BENCH_WHOLE: V2 that sends the whole history wherever it fits the engine's window;
- V1_PREFIX: what its Redis keys begin with. A DATABASE_URL may name a schema to stay in (`bench.confined`).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bench.confined  # noqa: F401 - its engines enter a schema that the URL names
from app.core.settings import Settings
from app.server import application
from app.services.system import SentinelSystem

_IN_FLIGHT, _CONNECTIONS, _WHOLE = "BENCH_IN_FLIGHT", "BENCH_CONNECTIONS", "BENCH_WHOLE"


@dataclass(frozen=True, slots=True)
class Variant:
    """What is nailed; 0 and False leave it to Sentinel."""

    in_flight: int = 0
    connections: int = 0
    whole: bool = False

    def environment(self) -> dict[str, str]:
        """For the process that `read` runs in."""
        return {
            _IN_FLIGHT: str(self.in_flight),
            _CONNECTIONS: str(self.connections),
            _WHOLE: str(int(self.whole)),
        }


def read(environment: Mapping[str, str]) -> Variant:
    """What `Variant.environment` wrote; Sentinel as shipped where it wrote nothing."""
    return Variant(
        int(environment.get(_IN_FLIGHT, "0")),
        int(environment.get(_CONNECTIONS, "0")),
        environment.get(_WHOLE, "0") == "1",
    )


class VariantSystem(SentinelSystem):
    """Sentinel's system, in which what the environment nails is nailed once it is open."""

    async def open(self) -> None:
        """Open it, then hold still what its laws would move."""
        await super().open()
        variant = read(os.environ)
        if variant.in_flight:
            for station in self.sentinel.dispatcher.flows():
                station.pin(float(variant.in_flight))
        if variant.connections:
            self.db.pool.pin(variant.connections)
        if variant.whole:
            send_all(self.sentinel.dispatcher)


def send_all(dispatcher: Any) -> None:
    """Cut a history where the window forces it and nowhere else: what it costs does not count."""
    budget = dispatcher._composer._budget
    fit = budget.fit

    def whole(messages: Any, **named: Any) -> Any:
        return fit(messages, **{**named, "base_tokens": None, "comfort_tokens": None})

    budget.fit = whole


app = application(Settings(), namespace=os.environ.get("V1_PREFIX"), system_class=VariantSystem)
