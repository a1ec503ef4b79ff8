"""`fluido gateway bench`: the user's own engine, directly and through a gateway, in turns in one run."""

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm.engines import Transport, error_of, is_for_chat, lines

from ._app import Gateway
from ._config import Config
from ._discovery import Directory, Engine

DIRECT, THROUGH = "directly", "through the gateway"
# Of the time: one caller alone, then one who asks now and then beside greedy ones.
ALONE_SHARE = 0.4
PATIENT_PAUSE_S = 0.2
CALL_S = 120.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What to ask: which model, for about how long, how many greedy callers, tokens of an answer."""

    model: str = ""
    seconds: float = 60.0
    callers: int = 4
    tokens: int = 24


@dataclass(slots=True)
class Round:
    """One way, measured. Times in seconds; `tokens` counts pieces of answers."""

    firsts: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    patient: list[float] = field(default_factory=list)
    answers: int = 0
    crowd_s: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """Both ways."""

    engine: str
    model: str
    rounds: dict[str, Round]


async def measured(config: Config, wishes: Bench, *, say: Callable[[str], object] = print) -> Measured:
    """Open a gateway in front of the first engine and ask both in turns. Raises EngineUnavailable."""
    async with Directory(config.engines) as directory:
        engine = next((each for each in directory.engines if each.is_up and each.models), None)
        if engine is None:
            away = "; ".join(each.error for each in directory.engines if each.error)
            raise EngineUnavailable(
                f"no engine to ask: {away or 'nothing listens on 11434 and 8080'}. Start one, or name it "
                "with --engine http://HOST:PORT"
            )
        model = wishes.model or _model(engine)
        given = next(each for each in directory.given if each.url == engine.url)
        say(f"{engine.name}, {model}: about {wishes.seconds:.0f} s, directly and through a gateway in turns.")
        server = Gateway(replace(config, engines=(given,), port=0))
        await server.open()
        try:
            async with AsyncExitStack() as stack:
                ways = {
                    DIRECT: Asker(engine.url, engine, model, wishes.tokens),
                    THROUGH: Asker(f"http://127.0.0.1:{server.port}", engine, model, wishes.tokens),
                }
                for asker in ways.values():
                    await asker.link.open()
                    stack.push_async_callback(asker.link.close)
                return Measured(engine.name, model, await _rounds(ways, wishes))
        finally:
            await server.close()


def _model(engine: Engine) -> str:
    names = [*engine.resident, *engine.models]
    return next((name for name in names if is_for_chat(name)), names[0])


class Asker:
    """Asks one way. Every question differs, so that no answer comes out of a cache."""

    def __init__(self, url: str, engine: Engine, model: str, tokens: int) -> None:
        self.link = Transport(url, headers=engine.headers)
        self._is_ollama = engine.kind == "ollama"
        self._model = model
        self._tokens = tokens
        self._count = 0

    async def ask(self) -> tuple[float, float]:
        """Seconds to the first piece of an answer, and to its end."""
        self._count += 1
        question = f"({time.monotonic_ns()} {self._count}) Name three rivers, and say where they end."
        messages = [{"role": "user", "content": question}]
        body: dict[str, object] = {"model": self._model, "messages": messages, "stream": True}
        if self._is_ollama:
            path, body["options"] = "/api/chat", {"num_predict": self._tokens, "temperature": 0}
        else:
            path = "/v1/chat/completions"
            body.update(max_tokens=self._tokens, temperature=0)
        began_s, first_s = time.perf_counter(), 0.0
        async with asyncio.timeout(CALL_S), self.link.post(path, body) as reply:
            if reply.status != 200:
                said = str(await error_of(reply.pieces))[:200]
                raise EngineUnavailable(f"it answers {reply.status}: {said}")
            async for line in lines(reply.pieces):
                if line and not line.startswith(b":") and not first_s:
                    first_s = time.perf_counter() - began_s
        return first_s, time.perf_counter() - began_s


async def _rounds(ways: dict[str, Asker], wishes: Bench) -> dict[str, Round]:
    rounds = {way: Round() for way in ways}
    for asker in ways.values():  # what the engine loads and compiles at the first question counts for neither
        await asker.ask()
    end_s = time.monotonic() + ALONE_SHARE * wishes.seconds
    turn = 0
    while time.monotonic() < end_s or turn < 2:
        for way in _order(ways, turn):
            first_s, total_s = await ways[way].ask()
            rounds[way].firsts.append(first_s)
            rounds[way].totals.append(total_s)
        turn += 1
    crowd_s = (1 - ALONE_SHARE) * wishes.seconds / 4
    for turn in range(2):
        for way in _order(ways, turn):
            await _crowd(ways[way], rounds[way], wishes.callers, crowd_s)
    return rounds


def _order(ways: dict[str, Asker], turn: int) -> Sequence[str]:
    """Who was first is second in the next turn."""
    return tuple(ways) if turn % 2 == 0 else tuple(reversed(ways))


async def _crowd(asker: Asker, told: Round, callers: int, seconds: float) -> None:
    """Greedy callers that ask without a pause, and one who asks now and then."""
    began_s = time.monotonic()
    end_s = began_s + seconds

    async def greedy() -> None:
        while time.monotonic() < end_s:
            try:
                await asker.ask()
                told.answers += 1
            except (FluidoError, TimeoutError) as error:
                told.failures.append(str(error) or "it took too long")
                await asyncio.sleep(PATIENT_PAUSE_S)

    async def patient() -> None:
        while time.monotonic() < end_s:
            await asyncio.sleep(PATIENT_PAUSE_S)
            try:
                told.patient.append((await asker.ask())[0])
            except (FluidoError, TimeoutError) as error:
                told.failures.append(str(error) or "it took too long")

    await asyncio.gather(patient(), *(greedy() for _ in range(callers)))
    told.crowd_s += time.monotonic() - began_s


def report(result: Measured) -> list[str]:
    """The ratios, through the gateway over directly, with the counts they rest on."""
    direct, through = result.rounds[DIRECT], result.rounds[THROUGH]
    told = [
        f"{result.engine}, {result.model}. Ratios: through the gateway / directly.",
        f"  one caller, first token:  {_ratio(through.firsts, direct.firsts)}",
        f"  one caller, whole answer: {_ratio(through.totals, direct.totals)}",
        f"  who asks now and then beside greedy ones, first token: {_ratio(through.patient, direct.patient)}",
    ]
    rates = [each.answers / each.crowd_s if each.crowd_s else 0.0 for each in (through, direct)]
    if rates[1]:
        told.append(
            f"  answers a second of the greedy callers: {rates[0] / rates[1]:.2f} "
            f"({through.answers} and {direct.answers} answers)"
        )
    for way, each in result.rounds.items():
        if each.failures:
            told.append(f"  {len(each.failures)} questions failed {way}: {each.failures[0]}")
    return told


def _ratio(through: Sequence[float], direct: Sequence[float]) -> str:
    if not through or not direct:
        return "not measured"
    first, second = statistics.median(through), statistics.median(direct)
    if second <= 0:
        return "not measured"
    return (
        f"{first / second:.2f} (medians {first * 1e3:.0f} and {second * 1e3:.0f} ms, "
        f"{len(through)} and {len(direct)} answers)"
    )
