"""Where an OpenAI-compatible server keeps its API, and which models it lists there.

Most have it under `/v1`. Hosted ones are reached by addresses such as `.../v1beta/openai`, `.../api/paas/v4`
or none at all, to which other clients only add `/chat/completions`; some of them, and older servers, list no
models.
"""

from contextlib import suppress

from fluido.errors import EngineUnavailable
from fluido.llm.engines._catalog import Listed, is_listing, listed, told_window
from fluido.llm.engines._refusals import NO_KEY, locked
from fluido.llm.engines._transport import Transport

ROOTS = ("/v1", "")
CHAT = "/chat/completions"
MODELS = "/models"
# Where servers tell the window that `/v1/models` does not: TabbyAPI, KoboldCpp.
KOBOLD_CPP = "/api/extra/true_max_context_length"
WINDOW_PLACES = ("/v1/model", KOBOLD_CPP)
LM_STUDIO = "/api/v0/models"
EXTRA_ASK_S = 1.0
NO_SUCH_PAGE = frozenset({404, 405, 410, 501})


class Listing:
    """The models of one server. `root` is what stands before every path, found out by the first question."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name
        self.root = ROOTS[0]
        self.is_lm_studio = False
        self.is_desktop = False

    @property
    def chat(self) -> str:
        """The path to which calls are sent."""
        return self.root + CHAT

    async def models(self, *, window_known: bool) -> list[Listed]:
        """What it lists; LM Studio tells kinds and windows in a listing of its own.

        Empty where it takes calls and lists nothing. Raises EngineUnavailable.
        """
        models = listed(await self._listing())
        if window_known or any(each.window_tokens for each in models):
            return models
        known = {each.name: each for each in listed(await self._if_told(LM_STUDIO))}
        self.is_lm_studio = self.is_desktop = bool(known)
        return [known.get(each.name, each) for each in models]

    async def _listing(self) -> object:
        said = 0
        for root in sorted(ROOTS, key=lambda each: each != self.root):
            status, listing = await self._transport.ask_any("GET", root + MODELS)
            if status in NO_KEY:
                raise locked(self._name, status, root + MODELS)
            if status == 200 and is_listing(listing):
                self.root = root
                return listing
            said = said or status
            if status not in NO_SUCH_PAGE and status != 200:
                break
        else:
            for root in ROOTS:
                if await self._takes_calls(root):
                    self.root = root
                    return []
        raise EngineUnavailable(
            f"{self._name} answers {said} to /v1/models, which lists no models: is it an OpenAI-compatible "
            "server? Its address ends before /v1, as in http://127.0.0.1:8000"
        )

    async def _takes_calls(self, root: str) -> bool:
        """Whether calls are taken there: an empty one is refused for what it lacks, not for its path."""
        status, reply = await self._transport.ask("POST", root + CHAT, {})
        if status in NO_KEY:
            raise locked(self._name, status, root + CHAT)
        return status in {400, 422} or (400 <= status < 500 and status not in NO_SUCH_PAGE and bool(reply))

    async def told_window(self) -> int:
        """The window of the one model of a server that tells it in a place of its own; 0: not told."""
        for place in WINDOW_PLACES:
            if window := told_window(await self._if_told(place)):
                self.is_desktop = place == KOBOLD_CPP
                return window
        return 0

    async def _if_told(self, path: str) -> object:
        """A page that only some servers have; one that does not answer for it has none."""
        with suppress(EngineUnavailable):
            status, reply = await self._transport.ask_any("GET", path, timeout_s=EXTRA_ASK_S)
            return reply if status == 200 else {}
        return {}

    async def names(self) -> list[str]:
        """The names of its models. Raises EngineUnavailable when nobody answers."""
        _, listing = await self._transport.ask_any("GET", self.root + MODELS)
        return [each.name for each in listed(listing)]

    async def ping(self) -> None:
        """Return when it answers at all."""
        await self._transport.ask_any("GET", self.root + MODELS)
