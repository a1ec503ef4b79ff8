"""What the replicas of one server tell each other: each its limit and its evidence, and all the sums of them.

Replicas that probe together see the common effect, but each through its own noise and its own error of the
clock, and steps that multiply never make equals of unequals. With the sums of all, everybody computes the
same elasticity and takes the same step, and leans towards the mean limit. A board is any place that keeps
the newest note of each member (a hash in Redis, with an expiry); what is here is the arithmetic.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """What one replica writes after a pair: its limit, and the sums of its forgetting regression.

    `sum_rn` and `sum_nn` are those of pairs.Evidence; `scatter` is variance * sum_ww, which add up as the
    squares of errors do.
    """

    limit: float
    sum_rn: float
    sum_nn: float
    scatter: float


@dataclass(frozen=True, slots=True)
class Told:
    """What a replica reads: how many there are, their mean limit, and what all of them have seen together."""

    members: int
    limit: float
    elasticity: float
    error: float


def told(notes: Iterable[Note]) -> Told | None:
    """The sums over all notes that are numbers; None when there is none.

    A note is somebody else's: one that is not finite, or has a limit below 1, is left out.
    """
    good = [note for note in notes if _is_sound(note)]
    if not good:
        return None
    sum_nn = math.fsum(note.sum_nn for note in good)
    return Told(
        members=len(good),
        limit=math.fsum(note.limit for note in good) / len(good),
        elasticity=math.fsum(note.sum_rn for note in good) / sum_nn if sum_nn > 0 else math.nan,
        error=math.sqrt(math.fsum(note.scatter for note in good)) / sum_nn if sum_nn > 0 else math.inf,
    )


def _is_sound(note: Note) -> bool:
    values = (note.limit, note.sum_rn, note.sum_nn, note.scatter)
    return all(map(math.isfinite, values)) and note.limit >= 1 and min(note.sum_nn, note.scatter) >= 0
