"""Diagnosis: what will hurt in the engines and in what their clients ask for, and how to mend it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import urlsplit

from fluido.llm.engines import mapping, modelfile_parameters, number, text, trained_tokens

from . import _local as local
from ._discovery import Directory, Engine

# What Ollama takes where neither the Modelfile nor its administrator says more.
MUCH = 32768
SMALL_WINDOW = 4096


class Severity(IntEnum):
    """How much it hurts."""

    NOTE = 0
    WARNING = 1
    SERIOUS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that hurts: what was seen, and what to do."""

    severity: Severity
    says: str
    mend: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an engine beyond its reading. None: it could not be found out.

    `trained` and `wanted` are tokens by model: what it was made for, what its Modelfile asks for.
    """

    engine: Engine
    trained: Mapping[str, int] = field(default_factory=dict)
    wanted: Mapping[str, int] = field(default_factory=dict)
    parallel: int | None = None
    strangers: tuple[str, ...] = ()


async def facts(directory: Directory, engine: Engine, *, ours: Iterable[int] = ()) -> Facts:
    """Look at an engine: its loaded models, and on this machine its process. `ours` are the gateway's."""
    port = urlsplit(engine.url).port or 0
    trained, wanted = {}, {}
    for model in engine.resident if engine.kind == "ollama" else ():
        show = await directory.show(engine, model)
        trained[model] = trained_tokens(show)
        wanted[model] = int(number(modelfile_parameters(text(show.get("parameters"))).get("num_ctx")))
    parallel: int | None = None
    strangers: tuple[str, ...] = ()
    if _is_here(engine.url):
        parallel = _parallel(engine, port)
        strangers = local.connected(port, but=tuple(ours))
    return Facts(engine, trained, wanted, parallel, strangers)


def _parallel(engine: Engine, port: int) -> int | None:
    """OLLAMA_NUM_PARALLEL of an Ollama on this machine, which tells nobody; 1 is its own default."""
    if engine.kind != "ollama":
        return None
    started_with = local.environment(local.listener(port))
    if started_with is None:
        return None
    given = started_with.get("OLLAMA_NUM_PARALLEL", "1")
    return int(given) if given.isdigit() else None


def _is_here(url: str) -> bool:
    return (urlsplit(url).hostname or "") in {"127.0.0.1", "localhost", "::1"}


def of_engine(facts: Facts) -> list[Finding]:
    """What hurts in an engine."""
    engine = facts.engine
    if engine.error:
        return [
            Finding(
                Severity.SERIOUS,
                f"{engine.error}.",
                "Start it, or name another with --engine. Until it answers its calls get 503.",
            )
        ]
    found = []
    if not engine.models:
        pull = "`ollama pull NAME`" if engine.kind == "ollama" else "start it with one"
        found.append(Finding(Severity.SERIOUS, f"{engine.name} has no model.", f"Get one: {pull}."))
    if facts.parallel == 1:
        found.append(
            Finding(
                Severity.WARNING,
                f"{engine.name} runs with OLLAMA_NUM_PARALLEL 1: one call at a time, the others wait.",
                "Where memory allows, start it with OLLAMA_NUM_PARALLEL=2 or 4; each needs memory.",
            )
        )
    for model, window in engine.resident.items():
        found += _window(facts, model, window)
    if facts.strangers:
        found.append(
            Finding(
                Severity.WARNING,
                f"{', '.join(facts.strangers)} asks {engine.name} directly, past the queue.",
                "Give it the gateway's address: what passes the queue can neither be ordered nor guarded.",
            )
        )
    return found


def _window(facts: Facts, model: str, window: int) -> list[Finding]:
    trained, wanted = facts.trained.get(model, 0), facts.wanted.get(model, 0)
    found = []
    if 0 < window <= SMALL_WINDOW < trained:
        found.append(
            Finding(
                Severity.WARNING,
                f"{model} is loaded with a window of {window} tokens and was made for {trained}: "
                "longer prompts do not fit.",
                f"Start Ollama with OLLAMA_CONTEXT_LENGTH={min(MUCH, trained)} (it takes memory), or let the "
                "gateway widen it once, when it is needed: --wishes planned.",
            )
        )
    if window and wanted and window != wanted:
        found.append(
            Finding(
                Severity.NOTE,
                f"{model} is loaded with {window} tokens, its Modelfile says {wanted}.",
                "Some client asked for it; the next load without the gateway may be another.",
            )
        )
    return found


def of_clients(state: Mapping[str, object]) -> list[Finding]:
    """What hurts in what clients ask for, by the gateway's own account (`/gateway/state`)."""
    found = []
    for each in _list(state.get("differing")):
        client, option, model = text(each.get("client")), text(each.get("option")), text(each.get("model"))
        found.append(
            Finding(
                Severity.WARNING,
                f"{client} sends {option} {each.get('asked')}, the model {model} runs with "
                f"{each.get('kept')} ({int(number(each.get('count')))} times).",
                f"Set {option} to {each.get('kept')} in {client}, or take it out there. The gateway kept the "
                "model as it was: without it each of them is a reload.",
            )
        )
    for row in _list(state.get("rows")):
        client, model, asked = text(row.get("client")), text(row.get("model")), number(row.get("requests"))
        if cut := int(number(row.get("lost_tokens"))):
            found.append(
                Finding(
                    Severity.SERIOUS,
                    f"{client} lost {cut} tokens of its prompts to {model}: they did not fit the window.",
                    "Load the model with a larger window, or send less.",
                )
            )
        if asked >= 10 and number(row.get("left")) > asked / 2:
            found.append(
                Finding(
                    Severity.NOTE,
                    f"{client} leaves more than half of its {int(asked)} requests before they are answered.",
                    "An autocomplete does that. If a person does, its timeout is shorter than the answers.",
                )
            )
        if asked >= 10 and number(row.get("refused")) > asked / 4:
            found.append(
                Finding(
                    Severity.WARNING,
                    f"{int(number(row.get('refused')))} of {int(asked)} requests of {client} to {model} were "
                    "refused.",
                    "The engine is asked for more than it can do: another engine (--engine twice), a smaller "
                    "model, or fewer at once.",
                )
            )
    return found


def _list(value: object) -> list[dict[str, object]]:
    return [mapping(each) for each in value] if isinstance(value, list) else []
