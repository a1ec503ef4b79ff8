"""Load balancing over several engines: the one whose first token should come first, in seconds.

The wait for a seat there, and the prefill of what that engine does not hold. So a conversation stays where it
is warm for as long as that is quicker than starting over elsewhere, and a hot engine spills by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fluido.llm.compose import Prompt
from fluido.llm.seat import Order
from fluido.llm.station import Station


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, and what serving the call there means."""

    station: Station
    order: Order
    prompt: Prompt

    @property
    def seconds(self) -> float:
        """Until the first token, predicted."""
        return self.station.predicted_wait_s(self.order) + self.order.first_token_s


def choose(choices: Sequence[Choice]) -> Choice:
    """The soonest; of equals the one with the least work, then the first.

    One that refuses what others answer looks idle all the time: it is taken where there is no other.
    """
    if len(choices) == 1:
        return choices[0]
    return min(
        choices,
        key=lambda c: (c.station.health.is_passed_over, c.seconds, c.station.inflight / c.station.limit),
    )
