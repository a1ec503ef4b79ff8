"""Every version that answers people, by name: which application, with which constants."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.v1.tuning import WHOLE, Tuning

V1, V2, VARIANT = "bench.v1.main:app", "app.main:app", "bench.variants:app"
APPLICATIONS = {
    "v1": V1,
    "v1_again": V1,
    "v1_best": V1,
    "v1_history": V1,
    "v1_history_one": V1,
    "v2": V2,
    "v2_again": V2,
    "v2_constants": VARIANT,
    "v2_whole": VARIANT,
}
"""The `_again` arms are the A/A comparison that must find nothing."""
DEFAULTS = Tuning()
NEED_SWEEP = frozenset({"v1_best", "v1_history_one", "v2_constants", "v1_tuned"})
"""Arms whose constants a sweep finds."""
CONNECTIONS, SLOTS = 15, 4
"""V2's constants where the sweep left a library's own: a pool of 5 and 10 more, an engine's slots."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What the sweep found: V1's best constants together, and the best in flight with the whole history."""

    best: Tuning = DEFAULTS
    whole_in_flight: int = 1

    def environment(self, arm: str) -> dict[str, str]:
        """Variables for the process of an arm."""
        if arm == "v1_best":
            return self.best.environment()
        if arm == "v1_history":
            return Tuning(exchanges=WHOLE).environment()
        if arm == "v1_history_one":
            return Tuning(exchanges=WHOLE, in_flight=self.whole_in_flight).environment()
        if arm == "v2_constants":
            return {
                "BENCH_IN_FLIGHT": str(self.whole_in_flight or SLOTS),
                "BENCH_CONNECTIONS": str(self.best.pool_size or CONNECTIONS),
            }
        return {"BENCH_WHOLE": "1"} if arm == "v2_whole" else {}

    def tuned(self) -> Tuning:
        """V1's constants where no engine is asked."""
        return replace(self.best, in_flight=0, exchanges=0)

    @classmethod
    def of(cls, tuned: Mapping[str, Any]) -> "Constants":
        """From what the result keeps of the sweep; the defaults where there was none."""
        if not tuned:
            return cls()
        names = ("pool_size", "pipeline", "in_flight", "exchanges")
        chosen = {name: int(tuned[name]["chosen"]) for name in names}
        return cls(Tuning(**chosen), int(tuned["whole_in_flight"]["chosen"]))
