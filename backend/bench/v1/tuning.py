"""V1's constants. As they stand here they are the defaults of the libraries; a sweep may find better ones."""

from collections.abc import Mapping
from dataclasses import dataclass

_VARIABLES = {
    "pool_size": "V1_POOL_SIZE",
    "pipeline": "V1_PIPELINE",
    "in_flight": "V1_IN_FLIGHT",
    "exchanges": "V1_EXCHANGES",
}
WHOLE = 100
"""So many exchanges are the whole history of everybody here."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """0 leaves a constant as it is.

    `pool_size` connections and no overflow (0: 5 and 10 more); at most `pipeline` Redis commands in one round
    trip (0: one each); at most `in_flight` requests at the engine (0: no limit); `exchanges` of a
    conversation that are sent with a question (0: three).
    """

    pool_size: int = 0
    pipeline: int = 0
    in_flight: int = 0
    exchanges: int = 0

    def environment(self) -> dict[str, str]:
        """For the process that `read` runs in."""
        return {variable: str(getattr(self, name)) for name, variable in _VARIABLES.items()}


def read(environment: Mapping[str, str]) -> Tuning:
    """What `Tuning.environment` wrote; the defaults where it wrote nothing."""
    return Tuning(**{name: int(environment.get(variable, "0")) for name, variable in _VARIABLES.items()})
