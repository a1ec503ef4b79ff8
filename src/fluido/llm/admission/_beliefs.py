"""What is believed of an engine's KV slots beyond what it declares, each with its way of being unlearned.

llama.cpp declares how many slots it has, not whether they are cut from one buffer, and not who else uses
them. Both show: in `/slots`, in what is found again, and in what it refuses. Pure, but for the clock.
"""

import math
from collections.abc import Callable, Collection, Mapping

from fluido.llm._engine import Pulse
from fluido.llm._errors import ModelMissing

QUIET_S = 60.0
OVERFLOW_SHARE = 0.6
GIVEN_BACK = 1.05
FIRST_ASK_S, LONGEST_ASK_S = 10.0, 120.0


class Company:
    """Slot sharing: whether another client or replica uses the engine's slots.

    A slot that is at work, or has served a call, that is none of ours since the last look shows somebody.
    Believed for `QUIET_S` after the last sign. `known` is False until the engine was looked at once and
    answered a call of ours: until then nobody can say that we are alone.
    """

    __slots__ = (
        "_clock",
        "_doubt",
        "_seen_s",
        "_served",
        "_tasks",
        "_unplaced",
        "known",
        "taken",
        "taken_tokens",
    )

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen_s = -math.inf
        self._tasks: dict[int, int] | None = None
        self._served: set[int] = set()  # slots of ours since the last look
        self._unplaced = 0  # calls of ours since the last look whose slot is not known
        self._doubt = False
        self.known = False
        self.taken: frozenset[int] = frozenset()
        """The slots that others were using at the last look, or that calls of ours had without a pin."""
        self.taken_tokens = 0
        """How many tokens those held."""

    @property
    def alone(self) -> bool:
        """Whether nobody else was seen lately. Not before it is `known`."""
        return self.known and not self._doubt and self._clock() - self._seen_s > QUIET_S

    @property
    def is_seen(self) -> bool:
        """Whether somebody else was seen in the slots lately."""
        return self._clock() - self._seen_s <= QUIET_S

    def served(self, slot: int) -> None:
        """A call of ours began or ended in `slot` (negative: unknown where)."""
        if slot < 0:
            self._unplaced += 1
        else:
            self._served.add(slot)
        self.known = self._tasks is not None

    @property
    def tasks(self) -> Mapping[int, int]:
        """The last call that each slot had served at the last look; empty before the first."""
        return self._tasks or {}

    def placed(self, slot: int) -> None:
        """A call of ours of which that was not known had `slot`."""
        self._unplaced = max(0, self._unplaced - 1)
        self._served.add(slot)

    def see(self, pulse: Pulse, ours: Collection[int], unplaced: int = 0) -> set[int]:
        """The engine's slots now; `ours` are at work for us, besides `unplaced` calls somewhere.

        The slots whose content is not ours any more.
        """
        if pulse.slots is None:
            return set()
        now = {state.slot: state.task for state in pulse.slots}
        mine = set(ours) | self._served
        before = now if self._tasks is None else self._tasks  # the first look shows who is there, not who was
        changed = {slot for slot, task in now.items() if task != before.get(slot, -1)}
        changed |= {state.slot for state in pulse.slots if state.busy}
        foreign = changed - mine
        theirs = [state for state in pulse.slots if state.busy and state.slot in foreign]
        self.taken = frozenset(state.slot for state in theirs)
        self.taken_tokens = sum(state.held_tokens or 0 for state in theirs)
        if len(foreign) > self._unplaced + unplaced:
            self._seen_s = self._clock()
        self._tasks, self._doubt = now, False
        self._served.clear()
        self._unplaced = 0
        return foreign

    def suspect(self) -> None:
        """A call waited for a slot that should have been free: nobody is alone before the next look."""
        self._doubt = True


# Of one buffer: what calls will take is an estimate, and one token too many costs somebody an answer.
MARGIN = 0.05


class Purse:
    """KV cache capacity: the tokens that may be in flight where all slots may share one buffer.

    `window_tokens` is what each of `slots` is said to hold. Believed to be all there is until more was seen
    at once (four slots cut from one buffer are the default of llama-server, and a call too many costs
    everybody in flight his answer); a full buffer settles it until the engine is started anew.
    """

    __slots__ = ("_settled", "_slots", "_window", "is_shared", "tokens")

    def __init__(self, window_tokens: int = 0, slots: int = 1, *, known_tokens: int = 0) -> None:
        self._window = window_tokens
        self._slots = slots
        self._settled = known_tokens > 0 or slots <= 1 or window_tokens <= 0
        self.is_shared = known_tokens > 0 or not self._settled
        """Whether all slots are cut from one buffer, or may be."""
        self.tokens = (
            float(known_tokens) if known_tokens > 0 else math.inf if self._settled else window_tokens
        )

    @property
    def is_endless(self) -> bool:
        """Whether every call fits: each slot has memory of its own, or nothing is known of it."""
        return math.isinf(self.tokens)

    def holds(self, tokens: int) -> None:
        """So many tokens were seen in its slots at once."""
        if not self._settled and tokens > self._window:
            self._settled, self.is_shared = True, False
            self.tokens = float(self._window * self._slots)

    def is_one(self) -> None:
        """It is one buffer: it was full, or the engine empties the slots that rest."""
        if self._window > 0 and self._slots > 1:
            self._settled, self.is_shared = True, True
            self.tokens = min(self.tokens, float(self._window))

    def overflowed(self, inflight_tokens: int) -> None:
        """It was full with so many in flight, as we count: less from now on, and more again by `served`."""
        self.is_one()
        if inflight_tokens > 0 and not math.isinf(self.tokens):
            self.tokens = min(self.tokens, OVERFLOW_SHARE * inflight_tokens)

    def served(self) -> None:
        """A call ended well: what was taken back after an overflow is given back by and by."""
        if self._settled and self.tokens < self._window:
            self.tokens = min(float(self._window), GIVEN_BACK * self.tokens)

    def takes(
        self, tokens: int, inflight_tokens: int, *, beside_others: bool = False, others_tokens: int = 0
    ) -> bool:
        """Whether a call of `tokens` fits beside those of ours in flight. Alone it always does.

        Of one buffer that is used by others too (`beside_others`) half is ours: what they will send cannot be
        seen. `others_tokens` are theirs at work now, beside which the call is to fit as well.
        """
        if others_tokens:
            return not self.is_shared or inflight_tokens + tokens + others_tokens <= self.tokens
        most = self.tokens / 2 if beside_others and self.is_shared else self.tokens
        if self.is_shared:
            most *= 1.0 - MARGIN
        return not inflight_tokens or inflight_tokens + tokens <= most


class Lacks:
    """Models that an engine was asked for and does not have. Asked again by `due`, forgotten by `found`."""

    __slots__ = ("_clock", "_known")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[ModelMissing, float, float]] = {}  # error, when to ask, how long after

    def missing(self, model: str) -> ModelMissing | None:
        """What the engine said when it was asked for `model`."""
        entry = self._known.get(model)
        return entry[0] if entry else None

    def note(self, model: str, error: ModelMissing) -> None:
        """It does not have `model`."""
        wait_s = min(LONGEST_ASK_S, 2 * self._known[model][2]) if model in self._known else FIRST_ASK_S
        self._known[model] = (error, self._clock() + wait_s, wait_s)

    def due(self, model: str) -> bool:
        """Whether it should be asked again by now."""
        entry = self._known.get(model)
        return entry is not None and self._clock() >= entry[1]

    def asked(self, model: str) -> None:
        """It is being asked again: not once more by others for a while."""
        if model in self._known:
            self.note(model, self._known[model][0])

    def found(self, model: str) -> None:
        """It has it."""
        self._known.pop(model, None)
