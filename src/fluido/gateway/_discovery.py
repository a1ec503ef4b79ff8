"""Service discovery: which engines there are, and what each has, holds and can do."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from fluido.errors import EngineUnavailable
from fluido.llm._errors import ModelMissing, Unreached
from fluido.llm._profile import canonical
from fluido.llm.engines import Transport, near

from ._config import Api, EngineUrl
from ._probe import Reading, read

# Where engines listen whose users changed nothing: Ollama, llama.cpp's server.
USUAL = (
    EngineUrl("http://127.0.0.1:11434", "ollama", "http://127.0.0.1:11434"),
    EngineUrl("http://127.0.0.1:8080", "openai", "http://127.0.0.1:8080"),
)
FRESH_S = 1.0
# Nobody asked lately: an engine on a laptop is not kept awake by questions.
QUIET_S, IDLE_REFRESH_S = 30.0, 15.0
# Somebody waits for one that is away.
AWAY_REFRESH_S = 0.3
ASK_S = 3.0
MOST_SHOWS, MOST_NAMES = 256, 256


@dataclass(slots=True)
class Engine:
    """One engine as it was at the last look. The object stays the same, `reading` is replaced.

    `api` is "ollama" or "openai". `error` is a sentence while it cannot be asked, else empty; `may_return`:
    nobody answers there, or it says itself that it is starting. `away_since_s` is on the directory's clock.
    """

    url: str
    name: str
    api: Api
    headers: Mapping[str, str] = field(repr=False)
    reading: Reading = field(default_factory=Reading)
    error: str = "it was not looked at yet"
    may_return: bool = False
    away_since_s: float = 0.0

    @property
    def kind(self) -> Literal["", "ollama", "llamacpp", "openai"]:
        """What it is; empty while nobody knows."""
        return self.reading.kind

    @property
    def is_up(self) -> bool:
        """Whether it answered at the last look."""
        return not self.error

    @property
    def version(self) -> str:
        """As it says itself."""
        return self.reading.version

    @property
    def models(self) -> Mapping[str, str]:
        """Every model it has, in its order, with its digest (empty where it tells none)."""
        return {name: model.digest for name, model in self.reading.models.items()}

    @property
    def resident(self) -> Mapping[str, int]:
        """The models that are loaded, each with its window in tokens (0: not told)."""
        return self.reading.resident

    @property
    def slots(self) -> int | None:
        """How many calls it runs at once; None where it does not tell."""
        return self.reading.slots

    @property
    def window(self) -> int:
        """Tokens of one call, where it is the same for every model; 0 where it is not told."""
        return self.reading.window

    def window_of(self, model: str) -> int:
        """Tokens of one call of `model` as it is loaded, else as it would be; 0 where nobody knows."""
        known = self.reading.models.get(model)
        return self.resident.get(model, 0) or self.window or (known.window if known else 0)


class Directory:
    """The engines and their models, looked at in the background; what is asked of it is answered at once.

    Without `engines` those on the usual ports of this machine that answer when it is opened. `aliases` are
    other names for models.
    """

    def __init__(
        self,
        engines: Iterable[EngineUrl] = (),
        *,
        aliases: Mapping[str, str] | None = None,
        usual: Iterable[EngineUrl] = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = tuple(engines)
        self._is_search = not given
        self.given = given or tuple(usual)
        self._told = {each.url: each for each in self.given}
        self._aliases = {_key(name): model for name, model in (aliases or {}).items()}
        self._clock = clock
        self._transports: dict[str, Transport] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._looked_s: dict[str, float] = {}
        self._asked_s = clock()
        self._task: asyncio.Task[None] | None = None
        self._resolved: dict[str, tuple[str, tuple[Engine, ...]]] = {}  # since the last look
        self._shows: dict[str, Mapping[str, object]] = {}
        self.engines: tuple[Engine, ...] = ()

    async def open(self) -> None:
        """Look once at every engine, then go on in the background. Raises nothing: an engine may be away."""
        if self._task is not None:
            return
        found = []
        for given in self.given:
            if given.url in self._transports:
                continue
            link = Transport(given.url, headers=given.headers, ask_s=ASK_S)
            self._transports[given.url] = link
            await link.open()
            found.append(Engine(given.url, given.name, given.api or _guess(given.url), given.headers))
        self.engines = tuple(found)
        await asyncio.gather(*(self.look(engine) for engine in found))
        if self._is_search:
            self.engines = tuple(engine for engine in found if engine.is_up and engine.models)
        self._task = asyncio.create_task(self._keep_looking(), name="fluido-gateway-discovery")

    async def close(self) -> None:
        """Stop looking. Idempotent."""
        tasks = [task for task in (self._task, *self._looks.values()) if task is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        for link in self._transports.values():
            await link.close()
        self._transports.clear()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def look(self, engine: Engine) -> None:
        """Look at one engine now; those who ask meanwhile share the look. Raises nothing."""
        task = self._looks.get(engine.url)
        if task is None:
            task = asyncio.create_task(self._look(engine), name="fluido-gateway-look")
            self._looks[engine.url] = task
            task.add_done_callback(lambda _: self._looks.pop(engine.url, None))
        await asyncio.shield(task)

    async def look_anew(self, engine: Engine) -> None:
        """Look at one engine by a question that is asked after this call: a look under way may be older."""
        if engine.url in self._looks:
            await self.look(engine)
        await self.look(engine)

    async def fresh(self) -> tuple[Engine, ...]:
        """Every engine as it was within the last second."""
        self._asked_s = self._clock()
        stale = [e for e in self.engines if self._clock() - self._looked_s.get(e.url, -9e9) > FRESH_S]
        if stale:
            await asyncio.gather(*(self.look(engine) for engine in stale))
        return self.engines

    async def show(self, engine: Engine, model: str) -> Mapping[str, object]:
        """What /api/show of an Ollama says of a model, asked once for each digest; empty where it fails."""
        key = f"{engine.url} {model} {engine.models.get(model, '')}"
        if key not in self._shows:
            link = self._transports.get(engine.url)
            if link is None or engine.kind != "ollama":
                return {}
            with suppress(EngineUnavailable):
                status, said = await link.ask("POST", "/api/show", {"model": model})
                if status == 200:
                    while len(self._shows) >= MOST_SHOWS:
                        self._shows.pop(next(iter(self._shows)))
                    self._shows[key] = said
        return self._shows.get(key, {})

    async def till_one_is_up(self, engines: Iterable[Engine]) -> None:
        """Look at some engines again and again; return when one of them answers."""
        waited_for = tuple(engines)
        while True:
            await asyncio.gather(*(self.look(engine) for engine in waited_for))
            if any(engine.is_up for engine in waited_for):
                return
            await asyncio.sleep(AWAY_REFRESH_S)

    def away_s(self, engine: Engine) -> float:
        """For how long an engine has not answered."""
        return 0.0 if engine.is_up else self._clock() - engine.away_since_s

    def resolve(self, model: str) -> tuple[str, tuple[Engine, ...]]:
        """The one name of a model, and the engines that have it (with the digest that most of them have).

        Raises ModelMissing with near names, or EngineUnavailable where no engine can be asked.
        """
        self._asked_s = self._clock()
        if (known := self._resolved.get(model)) is not None:
            return known
        asked = self._aliases.get(_key(model), model)
        having = [(engine, name) for engine in self.engines if (name := _name_in(engine, asked))]
        having = having or self._only()
        if not having:
            raise self._refusal(asked)
        # two that differ under one name are two models: a conversation must not change between them
        digests = Counter(engine.models.get(name, "") for engine, name in having)
        digest = max(digests, key=lambda each: (digests[each], bool(each)))
        same = [(engine, name) for engine, name in having if engine.models.get(name, "") == digest]
        if len(self._resolved) >= MOST_NAMES:
            self._resolved.clear()
        found = self._resolved[model] = same[0][1], tuple(engine for engine, _ in same)
        return found

    def _only(self) -> list[tuple[Engine, str]]:
        """What a llama.cpp server does itself: its one model answers, whatever name it is called by."""
        if any(engine.kind != "llamacpp" for engine in self.engines):
            return []
        names = {name for engine in self.engines for name in engine.models}
        return [(engine, name) for name in names for engine in self.engines] if len(names) == 1 else []

    def _refusal(self, asked: str) -> ModelMissing | EngineUnavailable:
        if not self.engines:
            return EngineUnavailable("there is no engine: start Ollama or llama.cpp's server, or name one")
        names = [name for engine in self.engines for name in engine.models]
        away = [engine for engine in self.engines if not engine.is_up]
        # of one that was seen before it is known which models it has
        if any(not engine.kind for engine in away):
            where = ", ".join(f"{engine.name} ({engine.error})" for engine in away)
            return EngineUnavailable(
                f"no engine that answers has the model {asked!r}; away: {where}", retry_after_s=FRESH_S
            )
        return ModelMissing(f"model '{asked}' not found", model=asked, near=near(asked, names), status=404)

    async def _look(self, engine: Engine) -> None:
        link, told = self._transports[engine.url], self._told[engine.url]
        try:
            # what answers after an error need not be what was there before
            is_same = engine.is_up or engine.reading.is_asleep
            reading = await read(link, told, engine.reading if is_same else Reading())
        except EngineUnavailable as error:
            if engine.is_up or not engine.away_since_s:
                engine.away_since_s = self._clock()
            if engine.reading.is_asleep:
                engine.reading = replace(engine.reading, is_asleep=None)
            is_nobody = isinstance(error, Unreached)
            nobody = f"{engine.url} does not answer: nothing listens there, or it cannot be reached"
            engine.error = nobody if is_nobody else str(error)
            # else something answers that is no engine for us, and will not become one by itself
            engine.may_return = is_nobody or error.retry_after_s is not None or error.__cause__ is not None
        else:
            was_asleep, engine.reading = engine.reading.is_asleep, reading
            engine.api = "ollama" if reading.kind == "ollama" else "openai"
            engine.error, engine.may_return = "", bool(reading.is_asleep)
            if reading.is_asleep:
                engine.away_since_s = engine.away_since_s if was_asleep else self._clock()
                engine.error = f"{engine.url} is asleep: POST /wake_up wakes it"
        self._looked_s[engine.url] = self._clock()
        self._resolved.clear()

    async def _keep_looking(self) -> None:
        while True:
            quiet = self._clock() - self._asked_s > QUIET_S
            await asyncio.sleep(IDLE_REFRESH_S if quiet else FRESH_S)
            await asyncio.gather(*(self.look(engine) for engine in self.engines))


def _guess(url: str) -> Api:
    return "ollama" if url.endswith(":11434") else "openai"


def _key(model: str) -> str:
    return canonical(model).casefold()


def _name_in(engine: Engine, asked: str) -> str:
    """The name under which an engine has a model: as it is written, else however it is written."""
    names = engine.models
    if asked in names:
        return asked
    wanted = _key(asked)
    return next((name for name in names if wanted in {_key(name), _key(_short(name))}), "")


def _short(name: str) -> str:
    """llama.cpp names a model by its file where nobody named it."""
    return name.rpartition("/")[2].removesuffix(".gguf")
