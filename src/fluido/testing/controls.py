"""Deliberately broken settings: a simulator that passes them has no teeth."""

from fluido._sample import Sample
from fluido.laws._base import Decision
from fluido.laws._ladder import Ladder


class GrowsUnbound(Ladder):
    """The ladder without the app-limited rule: it believes that its limit binds, always.

    While demand decides how many are in flight, throughput does not follow the limit, and what the pairs
    show is noise.
    """

    name = "grows_unbound"

    def observe(self, sample: Sample, /) -> Decision:
        """Pretend that every call was the last that fitted."""
        return super().observe(sample._replace(inflight=max(1, int(sample.limit))))
