"""Prefix-cache index (KV-cache affinity): what an engine still holds, and into which slot the next one goes.

Left alone, llama.cpp gives a call the slot that looks most like it, which for conversations with one common
system prompt is the slot of somebody else: measured without its RAM cache, four conversations in turn over
four slots never found anything of theirs again; pinned by this index they always did (docs/results/llm). An
engine that takes no pin is modelled as it behaves (Ollama: the free slot with the longest common beginning,
the first of equals).

A pin is a belief as well. llama-server without `-np` cuts its slots from one buffer and empties those that
rest into its RAM, where a call that names an empty slot does not look (ggml-org/llama.cpp#28139). So a slot
that was seen empty, or taken by others, holds nothing any more; and after `PIN_MISSES` pins in a row that
found nothing none is sent until the engine is started anew: it finds by itself what its RAM holds.
"""

import itertools
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from fluido.llm.prompt import Prefix

SECOND_TIER = 256
TRUST_SHARE = 0.3
# Believed until shown otherwise: llama.cpp keeps 8 GiB of lost prompts unless told not to, and who does not
# believe in them cuts the very prompt that would be found.
FIRST_TRUST = 1.0
PIN_MISSES = 3
FOUND = 0.7
LIKELY = 0.5
UNPLACED = -1
EVICTION_SHARE, EVICTION_MARGIN = 0.03, 0.05


class Eviction:
    """Which conversation loses its slot when there are fewer slots than conversations.

    The least recently used one is right when people who talked lately go on talking, and wrong when many
    take turns: who was served last comes back last, and eleven in a circle over ten slots never find anything
    again (llama.cpp's discussion 13606 reports just that). Then it is better to give away the slot that was
    used last and leave the others alone. Nobody knows beforehand which world it is, so both policies run in
    the shadow, as two caches of `slots` conversations, on the same calls; the one that would have hit more
    often lately decides. `newest_goes` is what to do now.
    """

    __slots__ = ("_hits_newest", "_hits_oldest", "_newest", "_oldest", "_slots", "newest_goes")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._oldest: OrderedDict[int, None] = OrderedDict()  # evicts what was used least recently
        self._newest: OrderedDict[int, None] = OrderedDict()  # evicts what was used most recently
        self._hits_oldest = 0.0
        self._hits_newest = 0.0
        self.newest_goes = False

    def saw(self, lineage: int) -> None:
        """A call of this conversation came."""
        self._hits_oldest += EVICTION_SHARE * (
            self._used(self._oldest, lineage, last=False) - self._hits_oldest
        )
        self._hits_newest += EVICTION_SHARE * (
            self._used(self._newest, lineage, last=True) - self._hits_newest
        )
        lead = self._hits_newest - self._hits_oldest
        if abs(lead) > EVICTION_MARGIN:
            self.newest_goes = lead > 0

    def _used(self, shadow: "OrderedDict[int, None]", lineage: int, *, last: bool) -> float:
        hit = lineage in shadow
        if not hit and len(shadow) >= self._slots:
            shadow.popitem(last=last)
        shadow[lineage] = None
        shadow.move_to_end(lineage)
        return float(hit)


@dataclass(frozen=True, slots=True)
class Placement:
    """The slot for a call (negative: the engine chooses), and how many of its tokens should be found.

    `warm`: more than the common system prompt is in the slot itself, or surely in the engine's RAM, which
    held `again_tokens` of it once.
    """

    slot: int
    cached_tokens: int
    warm: bool = False
    again_tokens: int = 0


@dataclass(slots=True)
class _Slot:
    holds: Prefix
    used: int
    before: Prefix = field(default_factory=Prefix)  # what it held when the call in it was placed


class Residency:
    """The index of one engine with `slots` caches; `pins` tells whether calls may name one.

    Prompts that lost their slot may live on in the engine's RAM: they are remembered apart (at most
    `SECOND_TIER`), and believed as far as the measured hits say.
    """

    def __init__(self, slots: int = 1, *, pins: bool = False) -> None:
        self._can_pin = pins
        self._emptied = False
        self._pin_misses = 0
        self._slots = [_Slot(Prefix(), 0) for _ in range(max(1, slots))]
        self._moment = itertools.count(1)
        self._eviction = Eviction(max(1, slots))
        self._claims: Counter[int] = Counter()
        self._second: OrderedDict[int, int] = OrderedDict()  # end of a chain -> its tokens
        self._adrift: OrderedDict[int, None] = OrderedDict()  # conversations in a slot that nobody knows
        self._second_trust = FIRST_TRUST if pins else 0.0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def pins(self) -> bool:
        """Whether calls name their slot: the engine takes it, and it was not shown to be of no use."""
        return self._can_pin and not self._emptied and self._pin_misses < PIN_MISSES

    def clear(self) -> None:
        """The engine was restarted or its model reloaded: nothing is resident."""
        for slot in self._slots:
            slot.holds = Prefix()
        self._second.clear()
        self._adrift.clear()

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

    def place(
        self, prefix: Prefix, busy: Collection[int], *, pin: bool = True, pin_new: bool = True
    ) -> Placement:
        """Choose among the slots that are not `busy`: its own history's, else the one that is missed least.

        The engine chooses where no pin helps (or `pin` is off), where all are busy, and, without `pin_new`,
        for a prompt that is in none of them: others may use them too, and two pins to one slot wait for each
        other (ggml-org/llama.cpp#5018).
        """
        self._eviction.saw(prefix.lineage)
        free = [index for index in range(len(self._slots)) if index not in busy]
        if not free or (self._can_pin and not (pin and self.pins)):
            return self._unplaced(prefix)
        shared = {index: self._slots[index].holds.shared(prefix) for index in free}
        own = max(free, key=lambda index: (shared[index], -index))
        if self._can_pin and shared[own] <= prefix.head:
            if not pin_new or prefix.lineage in self._adrift:
                return self._unplaced(prefix)
            own = self._missed_least(prefix, free)
        slot = self._slots[own]
        count = shared[own]
        again = self._second_tokens(prefix)
        cached = max(prefix.tokens[count - 1] if count else 0, int(self._second_trust * again))
        if count < len(slot.holds.chain):
            self._evict(slot.holds)
        slot.before, slot.holds, slot.used = slot.holds, prefix, next(self._moment)
        return Placement(own, cached, warm=count > prefix.head, again_tokens=again)

    def _missed_least(self, prefix: Prefix, free: list[int]) -> int:
        sign = -1 if self._eviction.newest_goes else 1
        return min(
            free,
            key=lambda index: (
                not self._is_of(index, prefix),
                self._claims[index] > 0,
                bool(self._slots[index].holds.chain),
                sign * self._slots[index].used,
            ),
        )

    def _unplaced(self, prefix: Prefix) -> Placement:
        """Left to the engine: what any slot held or its RAM may hold."""
        found, again = self.lookup(prefix), self._second_tokens(prefix)
        likely = again > 0 and self._second_trust > LIKELY
        return Placement(UNPLACED, found.cached_tokens, warm=found.warm or likely, again_tokens=again)

    def holds(self, slot: int) -> bool:
        """Whether anything is believed to be in `slot`."""
        return 0 <= slot < len(self._slots) and bool(self._slots[slot].holds.chain)

    def empties(self) -> None:
        """The engine was seen to empty slots that rest: no pin finds anything."""
        self._emptied = True
        for slot in range(len(self._slots)):
            self.taken(slot)

    def taken(self, slot: int) -> None:
        """Another's call was in `slot`, or the engine emptied it: what it held may be in its RAM."""
        if self.holds(slot):
            self._evict(self._slots[slot].holds)
            self._slots[slot].holds = Prefix()

    def found_in(self, slot: int, holds: Prefix) -> None:
        """The engine chose `slot` for a call that left this behind."""
        self.taken(slot)
        self._adrift.pop(holds.lineage, None)
        if 0 <= slot < len(self._slots):
            self._slots[slot].holds, self._slots[slot].used = holds, next(self._moment)

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
        if not 0 <= slot < len(self._slots):
            self._evict(holds)
            self._drift(holds)
            return
        self._slots[slot].holds = holds
        self._slots[slot].used = next(self._moment)

    def lost(self, slot: int, left: Prefix | None = None) -> None:
        """The call in `slot` failed: nobody knows what it left there.

        Of one that was `left` by its reader the engine knows: the conversation's next call is left to it.
        A pin to another slot would find nothing.
        """
        if left is not None:
            self._drift(left)
        if 0 <= slot < len(self._slots):
            self._slots[slot].holds = Prefix()

    def untouched(self, slot: int) -> None:
        """The call in `slot` was refused before the engine began: the slot holds what it held."""
        if 0 <= slot < len(self._slots):
            self._slots[slot].holds = self._slots[slot].before

    def _drift(self, prefix: Prefix) -> None:
        self._adrift[prefix.lineage] = None
        self._adrift.move_to_end(prefix.lineage)
        if len(self._adrift) > SECOND_TIER:
            self._adrift.popitem(last=False)

    def learn(self, placement: Placement, cached_tokens: int) -> None:
        """Compare with what the engine said it found.

        Teaches whether pins find anything, and whether there is a tier behind the slots.
        """
        if placement.warm and placement.slot >= 0:
            if cached_tokens >= FOUND * placement.cached_tokens:
                self.hits += 1
                self._pin_misses = 0
            else:
                self.misses += 1
                self._pin_misses += self._can_pin
                if self._can_pin and not self.pins:
                    for slot in range(len(self._slots)):
                        self.taken(slot)
        elif placement.again_tokens:
            found = min(1.0, cached_tokens / placement.again_tokens)
            self._second_trust += TRUST_SHARE * (found - self._second_trust)
            if placement.slot < 0:
                self.hits += found >= FOUND
                self.misses += found < FOUND
