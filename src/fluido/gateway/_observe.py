"""`--observe`: what scheduling would have changed, told from requests that were passed on at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ._seen import LOAD_S, Request

# Shorter waits nobody feels.
WAIT_S = 1.0
SHARE = 0.95


@dataclass(slots=True)
class Findings:
    """What was seen. Times in seconds."""

    requests: int = 0
    span_s: float = 0.0
    loads: int = 0
    needless_loads: int = 0
    load_s: float = 0.0
    loaders: dict[str, set[str]] = field(default_factory=dict)
    cut: int = 0
    cut_tokens: int = 0
    cut_clients: set[str] = field(default_factory=set)
    waited: int = 0
    wait_s_p95: float = 0.0
    wait_s_longest: float = 0.0
    starved: dict[tuple[str, str], float] = field(default_factory=dict)


def observed(requests: Iterable[Request]) -> Findings:
    """Reloads, truncations, waits and who starved whom, of requests that an engine took as they came."""
    ended = sorted((r for r in requests if r.outcome != "refused"), key=lambda r: r.at_s)
    found = Findings(len(ended))
    if not ended:
        return found
    began = min(_began_s(request) for request in ended)
    found.span_s = ended[-1].at_s - began
    _count_loads(ended, found)
    for request in ended:
        if request.lost_tokens > 0:
            found.cut += 1
            found.cut_tokens += request.lost_tokens
            found.cut_clients.add(request.who)
    waits = sorted(request.queue_s for request in ended)
    found.waited = sum(wait > WAIT_S for wait in waits)
    found.wait_s_longest = waits[-1]
    found.wait_s_p95 = waits[min(len(waits) - 1, int(SHARE * len(waits)))]
    found.starved = _starved(ended)
    return found


def _count_loads(ended: Sequence[Request], found: Findings) -> None:
    """A model that is loaded again on the same engine with other options was loaded without need."""
    loaded: dict[tuple[str, str], Request] = {}
    for request in sorted(ended, key=_began_s):
        name = (request.engine, request.model)
        if request.load_s > LOAD_S:
            found.loads += 1
            found.load_s += request.load_s
            before = loaded.get(name)
            if before is not None and before.asked != request.asked:
                found.needless_loads += 1
                found.loaders.setdefault(request.model, set()).update((_asks(before), _asks(request)))
            loaded[name] = request
        loaded.setdefault(name, request)


def _starved(ended: Sequence[Request]) -> dict[tuple[str, str], float]:
    """Seconds that one client waited while the calls of another were computed on the same engine."""
    busy: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for request in ended:
        busy[request.engine].append((_began_s(request) + request.queue_s, request.at_s, request.who))
    starved: dict[tuple[str, str], float] = defaultdict(float)
    for request in ended:
        if request.queue_s <= WAIT_S:
            continue
        begin, who = _began_s(request), request.who
        end = begin + request.queue_s
        behind: dict[str, float] = defaultdict(float)
        for start, stop, other in busy[request.engine]:
            if other != who and (overlap := min(end, stop) - max(begin, start)) > 0:
                behind[other] += overlap
        whole = sum(behind.values())
        for other, overlap in behind.items():
            starved[who, other] += request.queue_s * overlap / whole
    return dict(starved)


def sentences(found: Findings) -> list[str]:
    """What to tell the user: one sentence for each thing that the queue would have changed."""
    if not found.requests:
        return ["Nobody has asked anything yet."]
    told = [f"{found.requests} requests in {_span(found.span_s)}."]
    if found.needless_loads:
        who = "; ".join(f"{model}: {', '.join(sorted(asks))}" for model, asks in found.loaders.items())
        told.append(
            f"{found.needless_loads} of {found.loads} loads came from clients that ask for different options "
            f"({who}); {found.load_s:.0f} s went into loading. The queue would have kept the model as it was."
        )
    if found.cut:
        told.append(
            f"{found.cut} prompts were cut in silence, {found.cut_tokens} tokens in all "
            f"({', '.join(sorted(found.cut_clients))}). The queue would have refused them with both numbers."
        )
    if found.waited:
        told.append(
            f"{found.waited} requests waited over {WAIT_S:.0f} s inside the engine: 95 of 100 waited at most "
            f"{found.wait_s_p95:.1f} s, the longest {found.wait_s_longest:.1f} s."
        )
    for (who, other), seconds in sorted(found.starved.items(), key=lambda each: -each[1])[:3]:
        told.append(
            f"{who} waited {seconds:.0f} s in all while calls of {other} were computed: with the queue both "
            "have the same share of the engine."
        )
    if len(told) == 1:
        told.append(
            "Nothing that the queue would have changed was seen: no reloads, no cut prompts, no waits."
        )
    return told


def _began_s(request: Request) -> float:
    return request.at_s - request.total_s


def _asks(request: Request) -> str:
    asked = ", ".join(f"{name} {value}" for name, value in sorted(request.asked.items()))
    return f"{request.who} {asked or 'without options'}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
