"""Whether a memory that may have been overtaken is worth believing. Pure arithmetic."""

# To be wrong costs a refused row in somebody's batch, another statement with a commit of its own and the
# look into Redis that was saved: some seven looks into Redis. Below one in ten it pays clearly.
MOST_OVERTAKEN = 0.1
WINDOW = 20


class Trust:
    """Follows how often the memory of this process was overtaken by another one's answer.

    Where a balancer keeps a user on one replica that is next to never. Where it does not, with two
    replicas, it is every other turn: then Redis is asked first, until that changes again.
    """

    name = "trust"
    floor = 0.0
    ceiling = 1.0

    def __init__(self, most_overtaken: float = MOST_OVERTAKEN, window: int = WINDOW) -> None:
        self.overtaken = 0.0
        self.is_given = True
        self._most_overtaken = most_overtaken
        self._window = window

    def observe(self, is_current: bool) -> bool:
        """Take one outcome; return whether that changed anything. Given again at half the bound."""
        self.overtaken += ((not is_current) - self.overtaken) / self._window
        bound = self._most_overtaken if self.is_given else self._most_overtaken / 2
        was_given, self.is_given = self.is_given, self.overtaken <= bound
        return was_given is not self.is_given
