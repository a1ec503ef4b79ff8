"""Retry policy with backoff: whether a call that failed before its first word is asked again, and after what
pause.

| failed | again |
|---|---|
| it waited in line when the engine died | as soon as one is up |
| nobody was reached | at once, 8 times free of charge: the engine was given nothing |
| the engine is busy, or loads | after its `Retry-After` or a growing pause, to the deadline; once without |
| its KV memory was full | after a short pause, 32 times: ours was one call too many |
| it died with the call in hand | once; twice where others died with it |
| it ended this answer itself | only at another engine |

A call may be what kills: two engines that die with it alone in hand are enough. A restart kills whoever is in
hand, so a death that was shared is charged less; after `DEATHS` the call is told in any case.
"""

import random

from fluido.errors import EngineUnavailable
from fluido.llm._errors import CacheFull, EngineBusy, StreamBroken, Unreached
from fluido.llm._job import Job

ATTEMPTS, DEATHS = 2, 3
UNREACHED_TRIES = 8
# A buffer that is full empties as answers end: waited for, with pauses that two replicas do not share.
CROWDED_TRIES, CROWDED_PAUSE_S, LONGEST_PAUSE_S = 32, 0.1, 2.0
BUSY_TRIES, FIRST_BUSY_S, LONGEST_BUSY_S = 64, 0.5, 5.0
# An engine that wants to be left alone for longer says so to its caller instead.
LONGEST_WISH_S = 60.0


def again_after_s(
    job: Job, error: EngineUnavailable, *, elsewhere: bool, fresh: bool, is_shared: bool, left_s: float
) -> float | None:
    """The pause in seconds before `job` is tried again; None: its caller is told. Counts the attempt.

    `elsewhere`: another engine may take it; `fresh`: one that was not asked yet. `is_shared`: others were in
    the engine's hands as well. `left_s` is what is left until its deadline.
    """
    is_free, pause_s = False, 0.0
    if not job.in_hand:
        return pause_s
    if isinstance(error, CacheFull):
        job.crowded += 1
        is_free = job.crowded < CROWDED_TRIES
        pause_s = min(LONGEST_PAUSE_S, CROWDED_PAUSE_S * 2 ** min(job.crowded, 8)) * _spread(0.5, 1.0)
    elif isinstance(error, EngineBusy):
        job.busy += 1
        is_free = job.busy < (BUSY_TRIES if job.is_patient else ATTEMPTS)
        if not fresh:
            wish_s = error.retry_after_s or FIRST_BUSY_S
            grown_s = min(LONGEST_BUSY_S, wish_s * 2 ** min(job.busy - 1, 8))
            pause_s = max(wish_s, grown_s) * _spread(1.0, 1.2)
            is_free = is_free and wish_s <= LONGEST_WISH_S and pause_s < left_s
            if not is_free:
                return None
    elif isinstance(error, Unreached):
        job.unreached += 1
        is_free = job.unreached < UNREACHED_TRIES
    elif isinstance(error, StreamBroken) and error.told:
        return 0.0 if elsewhere else None
    else:
        job.deaths += 1
        if job.deaths >= DEATHS:
            return None
        is_free = is_shared
    job.asked -= is_free
    return None if job.asked >= ATTEMPTS else pause_s


def _spread(least: float, most: float) -> float:
    return random.uniform(least, most)  # noqa: S311 - no secret
