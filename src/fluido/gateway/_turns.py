"""Model swapping: several models of one engine in turns, so that few loads serve all of them.

An Ollama that cannot hold two models unloads one for every change of mind: left alone it loads for almost
each call of a mixed stream, or waits without end for the resident model's last call (ollama/ollama#14407).
Here the calls of a model that is not loaded wait in its own queue. The loaded ones are served while the
others have waited less than `PATIENCE` changes (the engine comes to rest, and a load) since they came or the
turn began, longer while calls wait that came before them, and never so long that a deadline is missed. Then
nobody new is let in, the engine comes to rest, and one load serves all who wait. An engine that rests is
given away at once, unless the loaded model's calls come faster than a load takes: its next one is then
waited for (anticipatory scheduling), for to load and to load back costs more.

Which models fit together nobody tells: it is seen after each load, and believed until a load shows otherwise.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from fluido.errors import EngineUnavailable, FluidoError

# A turn lasts this many changes while others wait: so a quarter of the time is spent on them at worst.
PATIENCE = 3.0
# Where a load takes no longer than an answer, changes cost little and each of them breaks up what could have
# been served together: a turn lasts at least this long. It is what people wait for a first word anyway.
TURN_S = 2.0
# Calls of the loaded model that came first go first, but not for longer than this many turns.
OLDER = 4.0
CHANGE_SHARE = 0.5
# A call that has not come after so many of the usual times between two is taken not to come.
LINGER = 2.0
GAP_SHARE = 0.3
# A model that could not be loaded is not tried again at once for those who come.
AFTER_FAILURE_S = 2.0

_log = logging.getLogger("fluido.gateway")


class Player(Protocol):
    """A model of an engine, with the calls that wait for it."""

    @property
    def model(self) -> str:
        """Its name on the engine."""

    @property
    def inflight(self) -> int:
        """Calls that the engine works on."""

    @property
    def waiting(self) -> int:
        """Calls in line."""

    @property
    def waiting_since_s(self) -> float | None:
        """When the oldest of them came."""

    @property
    def earliest_deadline_s(self) -> float:
        """Until when the first token of one of them has to come; infinite where none has a deadline."""

    @property
    def expected_load_s(self) -> float:
        """What loading it should take."""

    def hold(self) -> None:
        """Let nobody in."""

    def let_go(self) -> None:
        """Let in who waits."""

    def shed(self, error: FluidoError) -> None:
        """Tell everybody who waits that it was in vain."""

    async def idle(self) -> None:
        """Return when nothing is in flight."""

    async def load(self) -> None:
        """Load it. Raises FluidoError."""

    def unloaded(self) -> None:
        """It is not loaded any more."""


class Rhythm:
    """How often a model is called: the mean time between two calls."""

    __slots__ = ("gap_s", "last_s")

    def __init__(self) -> None:
        self.last_s = self.gap_s = math.inf

    def came(self, now_s: float) -> None:
        """A call came."""
        if math.isinf(self.last_s):
            self.last_s = now_s
            return
        gap_s, self.last_s = now_s - self.last_s, now_s
        self.gap_s = gap_s if math.isinf(self.gap_s) else self.gap_s + GAP_SHARE * (gap_s - self.gap_s)

    def expected_s(self, load_s: float) -> float:
        """Until when the next call is worth waiting for, where a load takes `load_s`."""
        return self.last_s + LINGER * self.gap_s if self.gap_s < load_s else -math.inf


class Turns:
    """The models of one engine. `resident` asks which are loaded: names as in `Player.model`."""

    def __init__(
        self,
        resident: Callable[[], Awaitable[frozenset[str] | None]],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._resident = resident
        self._patience = patience
        self._clock = clock
        self._playing: dict[str, Player] = {}
        self._wanting: dict[str, Player] = {}
        self._together: set[frozenset[str]] = set()
        self._failed_s: dict[str, float] = {}
        self._rhythms: dict[str, Rhythm] = {}
        self._changes_s: dict[str, float] = {}  # what a change to a model took: the rest, and the load
        self._began_s = -math.inf
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.mean_load_s = 0.0
        """What the last load took: a guess for a model that was not loaded yet (0: none was)."""
        self.swaps = 0
        """Loads that took another model's place, or a place of their own."""

    def plays(self, player: Player) -> bool:
        """Whether its calls are let in now."""
        return player.model in self._playing

    def is_loaded(self, player: Player) -> None:
        """It was seen to be loaded: it plays, beside whoever does."""
        self._playing[player.model] = player
        player.let_go()

    def lost(self, player: Player) -> None:
        """It was seen not to be loaded, though it plays."""
        if self._playing.pop(player.model, None) is not None:
            player.hold()
            player.unloaded()

    def want(self, player: Player) -> None:
        """A call for it waits, or is about to."""
        self._rhythms.setdefault(player.model, Rhythm()).came(self._clock())
        if player.model in self._playing:
            return
        player.hold()
        self._wanting[player.model] = player
        self._news.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="fluido-gateway-turns")

    def news(self) -> None:
        """A call ended, or left the line."""
        if self._wanting:
            self._news.set()

    def price_s(self, player: Player) -> float:
        """How much later a call for it begins because it is not loaded."""
        if self.plays(player):
            return 0.0
        busy = self._free_s(player) > self._clock()
        return player.expected_load_s + (self._turn_s(player) if busy else 0.0)

    def _against(self, player: Player) -> list[Player]:
        """Those who may have to go for it."""
        names = frozenset(self._playing) | {player.model}
        if any(names <= seen for seen in self._together):
            return []
        return list(self._playing.values())

    def due_s(self, player: Player) -> float:
        """When the turn goes to it, though others still have work."""
        since_s = player.waiting_since_s
        if since_s is None:
            return math.inf
        turn_s = self._turn_s(player)
        before = (each.waiting_since_s for each in self._against(player))
        if any(each_s is not None and each_s < since_s for each_s in before):
            turn_s *= OLDER
        return min(max(since_s, self._began_s) + turn_s, player.earliest_deadline_s - player.expected_load_s)

    def _turn_s(self, player: Player) -> float:
        """How long a turn lasts while a change to `player` is wanted."""
        change_s = max(player.expected_load_s, self._changes_s.get(player.model, 0.0))
        return max(TURN_S, self._patience * change_s)

    def _free_s(self, player: Player) -> float:
        """When those who would go for it have no call and expect none: infinite while they have one."""
        free_s = -math.inf
        for each in self._against(player):
            if each.inflight or each.waiting:
                return math.inf
            rhythm = self._rhythms.get(each.model)
            if rhythm is not None:
                free_s = max(free_s, rhythm.expected_s(player.expected_load_s))
        return free_s

    def _next(self) -> tuple[Player | None, float]:
        """Whose turn it is now, or when to look again."""
        now_s, soonest_s = self._clock(), math.inf
        for player in sorted(self._wanting.values(), key=self.due_s):
            if not player.waiting:
                continue
            retry_s = self._failed_s.get(player.model, -math.inf) + AFTER_FAILURE_S
            at_s = max(retry_s, min(self.due_s(player), self._free_s(player)))
            if at_s <= now_s:
                return player, now_s
            soonest_s = min(soonest_s, at_s)
        return None, soonest_s

    async def _run(self) -> None:
        """Until nobody wants a turn."""
        while self._wanting:
            self._news.clear()
            player, at_s = self._next()
            if player is not None:
                await self._swap(player)
                continue
            if math.isinf(at_s) and not any(each.waiting for each in self._wanting.values()):
                await asyncio.sleep(0)  # who wants may not stand in line yet
                if not any(each.waiting for each in self._wanting.values()) and not self._news.is_set():
                    self._wanting.clear()
                    return
                continue
            left_s = None if math.isinf(at_s) else max(0.0, at_s - self._clock())
            try:
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _swap(self, player: Player) -> None:
        """Let the engine come to rest, load, and see who is still there."""
        others, asked_s = self._against(player), self._clock()
        for other in others:
            other.hold()
        for other in others:
            await other.idle()
        names, is_loaded = frozenset(self._playing), False
        try:
            await player.load()
        except FluidoError as error:
            self._failed(player, error)
        except Exception as error:  # noqa: BLE001  (an adapter that stumbles must not stop the turns)
            _log.exception("loading %s failed", player.model)
            self._failed(player, EngineUnavailable(f"{player.model} cannot be loaded: {error!r}"))
        else:
            is_loaded = True
            self.swaps += 1
            self._failed_s.pop(player.model, None)
            self._wanting.pop(player.model, None)
            self._playing[player.model] = player
            self._began_s = self._clock()
            took_s, known_s = self._began_s - asked_s, self._changes_s.get(player.model)
            self._changes_s[player.model] = (
                took_s if known_s is None else known_s + CHANGE_SHARE * (took_s - known_s)
            )
            player.let_go()
        await self._look(names, player, is_loaded=is_loaded)

    def _failed(self, player: Player, error: FluidoError) -> None:
        self._failed_s[player.model] = self._clock()
        self._wanting.pop(player.model, None)
        player.shed(error)

    async def _look(self, names: frozenset[str], player: Player, *, is_loaded: bool) -> None:
        """Who is loaded now; where nobody tells, only the one that was loaded, or who was there before."""
        try:
            seen = await self._resident()
        except FluidoError:
            seen = None
        resident = seen if seen is not None else frozenset({player.model}) if is_loaded else names
        gone = names - resident
        if gone:
            self._together = {each for each in self._together if not (each & gone and player.model in each)}
        if len(resident) > 1:
            self._together.add(frozenset(resident))
        for name in names:
            other = self._playing.get(name)
            if other is None:
                continue
            if name in resident or other is player:
                other.let_go()
            else:
                self.lost(other)
                if other.waiting:
                    self.want(other)

    async def close(self) -> None:
        """Give up what is being loaded. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
