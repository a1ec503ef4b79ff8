"""What an engine still holds of earlier prompts, and into which of its slots the next one should go.

Left alone, llama.cpp gives a call the slot that looks most like it, which for conversations with one common
system prompt is the slot of somebody else: measured without its RAM cache, four conversations in turn over
four slots never found anything of theirs again; pinned by this index they always did (docs/llm.md). An engine
that takes no pin is modelled as it behaves (Ollama: the free slot with the longest common beginning, the
first of equals).
"""

import itertools
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from fluido.llm.eviction import Eviction
from fluido.llm.prefix import Prefix

SECOND_TIER = 256
TRUST_SHARE = 0.3
# Believed until shown otherwise: llama.cpp keeps 8 GiB of lost prompts unless told not to, and who does not
# believe in them cuts the very prompt that would be found.
FIRST_TRUST = 1.0


@dataclass(frozen=True, slots=True)
class Placement:
    """The slot for a call, and how many of its prompt's tokens should be found.

    `warm`: more than the common system prompt is in the slot itself.
    """

    slot: int
    cached_tokens: int
    warm: bool = False


@dataclass(slots=True)
class _Slot:
    holds: Prefix
    used: int


class Residency:
    """The index of one engine with `slots` caches; `pins` tells whether calls may name one.

    Prompts that lost their slot may live on in the engine's RAM: they are remembered apart (at most
    `SECOND_TIER`), and believed as far as the measured hits say.
    """

    def __init__(self, slots: int = 1, *, pins: bool = False) -> None:
        self.pins = pins
        self._slots = [_Slot(Prefix(), 0) for _ in range(max(1, slots))]
        self._moment = itertools.count(1)
        self._eviction = Eviction(max(1, slots))
        self._claims: Counter[int] = Counter()
        self._second: OrderedDict[int, int] = OrderedDict()  # end of a chain -> its tokens
        self._second_trust = FIRST_TRUST if pins else 0.0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._slots)

    def clear(self) -> None:
        """The engine was restarted or its model reloaded: nothing is resident."""
        for slot in self._slots:
            slot.holds = Prefix()
        self._second.clear()

    def held_tokens(self) -> tuple[int, ...]:
        """How many tokens each slot is believed to hold."""
        return tuple(slot.holds.total_tokens for slot in self._slots)

    def lookup(self, prefix: Prefix) -> Placement:
        """Where most of `prefix` is, in use or not; a slot of -1 means the engine's RAM."""
        best = Placement(0, 0)
        for index, slot in enumerate(self._slots):
            shared = slot.holds.shared(prefix)
            tokens = prefix.tokens[shared - 1] if shared else 0
            if tokens > best.cached_tokens:
                best = Placement(index, tokens, warm=shared > prefix.head)
        again = int(self._second_trust * self._second_tokens(prefix))
        return Placement(-1, again) if again > best.cached_tokens else best

    def _second_tokens(self, prefix: Prefix) -> int:
        for link in reversed(prefix.chain[prefix.head :]):
            if link in self._second:
                return self._second[link]
        return 0

    def claim(self, prefix: Prefix) -> int | None:
        """A call will wait that finds its history in some slot: that slot is given away last."""
        for index, slot in enumerate(self._slots):
            if slot.holds.shared(prefix) > prefix.head:
                self._claims[index] += 1
                return index
        return None

    def unclaim(self, slot: int | None) -> None:
        """The call of a `claim` waits no longer."""
        if slot is not None:
            self._claims[slot] -= 1

    def place(self, prefix: Prefix, busy: Collection[int]) -> Placement:
        """Choose among the slots that are not `busy`.

        Its own history's, else the one that is missed least.
        """
        self._eviction.saw(prefix.lineage)
        sign = -1 if self._eviction.newest_goes else 1
        free = [index for index in range(len(self._slots)) if index not in busy] or [0]
        shared = {index: self._slots[index].holds.shared(prefix) for index in free}
        own = max(free, key=lambda index: (shared[index], -index))
        if self.pins and shared[own] <= prefix.head:
            own = min(
                free,
                key=lambda index: (
                    not self._is_of(index, prefix),
                    self._claims[index] > 0,
                    bool(self._slots[index].holds.chain),
                    sign * self._slots[index].used,
                ),
            )
        slot = self._slots[own]
        count = shared[own]
        again = int(self._second_trust * self._second_tokens(prefix))
        cached = max(prefix.tokens[count - 1] if count else 0, again)
        if count < len(slot.holds.chain):
            self._evict(slot.holds)
        slot.holds, slot.used = prefix, next(self._moment)
        return Placement(own, cached, warm=count > prefix.head)

    def _is_of(self, index: int, prefix: Prefix) -> bool:
        """Whether the slot holds the same conversation before it was cut: nobody else misses that."""
        return prefix.conversation != "" and self._slots[index].holds.conversation == prefix.conversation

    def _evict(self, prefix: Prefix) -> None:
        # Its end, and the end without the last answer: who stores answers trimmed is found by that.
        for index in range(max(prefix.head, len(prefix.chain) - 2), len(prefix.chain)):
            self._second[prefix.chain[index]] = prefix.tokens[index]
            self._second.move_to_end(prefix.chain[index])
            if len(self._second) > SECOND_TIER:
                self._second.popitem(last=False)

    def served(self, slot: int, holds: Prefix) -> None:
        """The call in `slot` ended and left this behind."""
        self._slots[slot].holds = holds
        self._slots[slot].used = next(self._moment)

    def lost(self, slot: int) -> None:
        """The call in `slot` failed: nobody knows what it left."""
        self._slots[slot].holds = Prefix()

    def learn(self, prefix: Prefix, placement: Placement, cached_tokens: int) -> None:
        """Compare with what the engine said it found; teaches whether there is a tier behind the slots."""
        if placement.warm:
            if cached_tokens >= 0.7 * placement.cached_tokens:
                self.hits += 1
            else:
                self.misses += 1
        elif self._second_tokens(prefix):
            found = min(1.0, cached_tokens / max(1, self._second_tokens(prefix)))
            self._second_trust += TRUST_SHARE * (found - self._second_trust)
