"""Request log: the last requests in full, and sums by client, key and model. No prompts and no secrets."""

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

# Shown, and looked through for what scheduling would have changed.
LAST, KEPT = 200, 2000
MOST_ROWS = 1000
MOST_OPTIONS = 64
NAME_CHARS = 60
# Ollama tells a load_duration of some milliseconds for a model that is resident.
LOAD_S = 0.5
Outcome = Literal["answered", "refused", "failed", "left"]
# A product in User-Agent, as its users call it. What is not here is shown as it calls itself.
PRODUCTS = {
    "asyncopenai": "openai package",
    "openai": "openai package",
    "ollama-python": "ollama package",
    "ollama": "ollama command",
    "ollama-js": "ollama-js package",
    "githubcopilotchat": "Copilot",
    "homeassistant": "Home Assistant",
    "continue": "Continue",
    "n8n": "n8n",
    "open": "Open WebUI",
    "python": "Python (aiohttp)",
    "python-httpx": "Python (httpx)",
    "python-requests": "Python (requests)",
    "axios": "Node (axios)",
    "node": "Node",
    "undici": "Node",
    "node-fetch": "Node",
    "mozilla": "a browser",
}
PRODUCT = re.compile(rb"[A-Za-z0-9._+-]+")


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was answered, refused or left. Times in seconds; what nobody knows is 0.

    `asked` are the runner options that it asked for, `kept` those the model is loaded with; `notes` is what
    was changed and told in a header. `lost_tokens` is what the engine cut off the prompt's front.
    """

    at_s: float
    """Seconds since 1970."""
    client: str = ""
    key: str = ""
    model: str = ""
    engine: str = ""
    path: str = ""
    lane: str = ""
    status: int = 200
    outcome: Outcome = "answered"
    queue_s: float = 0.0
    load_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    first_s: float = 0.0
    total_s: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    lost_tokens: int = 0
    asked: Mapping[str, object] = field(default_factory=dict)
    kept: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def who(self) -> str:
        """Whose it is, for people: the name of the key first, for several programs use one package."""
        return f"{self.key} ({self.client})" if self.key else self.client

    @property
    def differing(self) -> dict[str, tuple[object, object]]:
        """The options that are not as the model is loaded: what was asked, and what it has."""
        return {
            name: (value, self.kept.get(name))
            for name, value in self.asked.items()
            if name in self.kept and self.kept[name] != value
        }


@dataclass(slots=True)
class Row:
    """Sums over all requests of one client with one key for one model."""

    client: str
    key: str
    model: str
    requests: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    queue_s: float = 0.0
    longest_queue_s: float = 0.0
    service_s: float = 0.0
    load_s: float = 0.0
    first_s: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    lost_tokens: int = 0
    loads: int = 0
    last_s: float = 0.0


class Seen:
    """What the panel, the metrics and `--observe` read. Bounded: old requests and old rows are dropped."""

    def __init__(self, *, kept: int = KEPT, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: deque[Request] = deque(maxlen=kept)
        self._rows: OrderedDict[tuple[str, str, str], Row] = OrderedDict()
        self._differing: OrderedDict[tuple[str, str, str], tuple[object, object, int]] = OrderedDict()
        self.started_s = clock()
        self.total = 0

    def note(self, request: Request) -> None:
        """Count one request that has ended."""
        self.total += 1
        self._kept.append(request)
        name = (request.client, request.key, request.model)
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = Row(*name)
            if len(self._rows) > MOST_ROWS:
                self._rows.popitem(last=False)
        self._rows.move_to_end(name)
        row.requests += 1
        row.refused += request.outcome == "refused"
        row.failed += request.outcome == "failed"
        row.left += request.outcome == "left"
        row.queue_s += request.queue_s
        row.longest_queue_s = max(row.longest_queue_s, request.queue_s)
        row.service_s += request.load_s + request.prefill_s + request.decode_s
        row.load_s += request.load_s
        row.first_s += request.first_s
        row.prompt_tokens += request.prompt_tokens
        row.output_tokens += request.output_tokens
        row.lost_tokens += request.lost_tokens
        row.loads += request.load_s > LOAD_S
        row.last_s = request.at_s
        for option, (asked, kept) in request.differing.items():
            self._differ((request.who, request.model, option), asked, kept)

    def _differ(self, name: tuple[str, str, str], asked: object, kept: object) -> None:
        _, _, count = self._differing.get(name, (None, None, 0))
        self._differing[name] = (asked, kept, count + 1)
        self._differing.move_to_end(name)
        if len(self._differing) > MOST_OPTIONS:
            self._differing.popitem(last=False)

    @property
    def last(self) -> tuple[Request, ...]:
        """The last requests, the newest first."""
        return tuple(islice(reversed(self._kept), LAST))

    @property
    def kept(self) -> tuple[Request, ...]:
        """Every request that is still known, the oldest first."""
        return tuple(self._kept)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Sums by client, key and model, the newest first."""
        return tuple(reversed(self._rows.values()))

    @property
    def differing(self) -> tuple[tuple[str, str, str, object, object, int], ...]:
        """Who asked for other options than the loaded ones: client, model, option, asked, kept, how often."""
        return tuple((*name, *value) for name, value in self._differing.items())


def client_name(headers: Mapping[bytes, bytes]) -> str:
    """The program that calls, by its own word. Header names are in small letters."""
    if any(name.startswith(b"x-openwebui-") for name in headers):
        return "Open WebUI"
    agent = headers.get(b"user-agent", b"")
    found = PRODUCT.match(agent.strip())
    if found is None:
        return "unnamed"
    product = found[0].decode()[:NAME_CHARS]
    return PRODUCTS.get(product.lower().partition("/")[0], product)
