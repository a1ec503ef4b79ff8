"""An adaptive concurrency limit for anybody's resource, in one call."""

import time
from collections.abc import Callable

from fluido._sample import Outcome
from fluido.flow._limiter import Limiter
from fluido.flow._memory import Kept, Place, recalled
from fluido.laws._base import Law
from fluido.laws._brake import Brake
from fluido.laws._fixed import Fixed
from fluido.laws._ladder import Ladder
from fluido.laws._rungs import WORTH
from fluido.laws._standstill import Standstill

WORTH_SHARED = 0.7
# It knows nothing of its resource, and waits longer than a pool does before it calls a queue a standstill.
STANDS_S, UNKNOWN_S = 1.0, 30.0


def judge(error: BaseException, /) -> Outcome:
    """The default classifier: timeouts and lost connections are overload, other failures say nothing."""
    return Outcome.OVERLOAD if isinstance(error, TimeoutError | ConnectionError) else Outcome.IGNORED


def adaptive_limiter(
    start: float = 10,
    *,
    max: float = 100,  # noqa: A002  (as Limits of a pool)
    min: float = 1,  # noqa: A002
    name: str = "limiter",
    max_waiting: int = 10_000,
    shared: bool = False,
    memory: Place | None = None,
    classify: Callable[[BaseException], Outcome] = judge,
    law: Law | None = None,
    shadow: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Limiter:
    """Build a Limiter: `async with limiter.permit():` around each call of a service, a device, workers.

    `start` is the constant that you have today: the limit begins there, moves between `min` and `max` while
    callers wait and another one does more, and comes back to it where none does. `min == max` is a plain
    limit. At most `max_waiting` wait, the next one is refused at once. `shared` says that others use the
    resource too, who deserve their part. `memory` is a path, or an object with `load(key)` and `save(key,
    text)`: what was learned under `name` is tried first after a restart. `classify` says what an exception
    means for capacity; a refusal that is no exception (429, 503) is told by `permit.refused(retry_after)`.
    `law` decides instead of the ladder. In `shadow` the law computes and reports, and `start` stays.
    ValueError unless 1 <= min <= start <= max.
    """
    if law is None:
        if not 1 <= min <= start <= max:
            raise ValueError(f"need 1 <= min <= start <= max, not {min}, {start}, {max}")
        worth = WORTH_SHARED if shared else WORTH
        law = (
            Fixed(start)
            if min == max
            else Ladder(
                start=start, floor=min, ceiling=max, worth=worth, key=name, remembered=recalled(memory, name)
            )
        )
    return Limiter(
        law,
        name=name,
        max_waiting=max_waiting,
        clock=clock,
        shadow=shadow,
        brake=Brake(),
        standstill=Standstill(shortest_s=STANDS_S, unknown_s=UNKNOWN_S),
        classify=classify,
        kept=None if memory is None else Kept(memory, name, law),
    )
