"""What an engine or a call can do wrong beyond `fluido.errors`; each keeps the parent's next step."""

from fluido.errors import EngineUnavailable, FluidoError

MAX_SAID_CHARS = 500


class CallRejected(FluidoError):
    """The call itself is wrong: asking again unchanged is useless. `field` names what to change.

    `status` is the engine's HTTP status (None: refused before anything was sent) and `said` its own words,
    bounded. The text of the error is a sentence for the caller and names no address.
    """

    def __init__(
        self, message: str, *, field: str | None = None, status: int | None = None, said: str = ""
    ) -> None:
        super().__init__(message)
        self.field = field
        self.status = status
        self.said = said[:MAX_SAID_CHARS]


class CallFailed(CallRejected):
    """The engine answered this call with an error of its own, a 5xx with a text, and goes on serving others.

    The call may be wrong (a schema or a template that the engine cannot take) or the engine: it counts
    against the engine only when several callers in a row get one.
    """


class PromptTooLong(CallRejected):
    """The prompt does not fit the window: trim it. Both numbers are in tokens, and may be estimates or 0."""

    def __init__(
        self,
        message: str,
        *,
        prompt_tokens: int,
        context_tokens: int,
        status: int | None = None,
        said: str = "",
    ) -> None:
        super().__init__(message, field="messages", status=status, said=said)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ModelMissing(CallRejected):
    """An engine does not have this model. Pull it or name another; `near` are similar names that it has."""

    def __init__(
        self,
        message: str,
        *,
        model: str,
        near: tuple[str, ...] = (),
        status: int | None = None,
        said: str = "",
    ) -> None:
        message = f"{message}; near names: {', '.join(near)}" if near else message
        super().__init__(message, field="model", status=status, said=said)
        self.model = model
        self.near = near


class EmptyAnswer(FluidoError):
    """The model ended without a word: its bound went into its thoughts. Raise the bound, or think less.

    `thought_tokens` were generated.
    """

    def __init__(self, message: str, *, thought_tokens: int) -> None:
        super().__init__(message)
        self.thought_tokens = thought_tokens


class StreamBroken(EngineUnavailable):
    """The engine stopped before it said that it was done.

    What arrived stays valid text, but is not an answer. `told`: the engine itself said that it ends this
    answer, and is alive.
    """

    def __init__(self, message: str, *, told: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.told = told


class Mute(StreamBroken):
    """It answered neither the call nor a question, and another engine was there: it is down."""


class Unreached(EngineUnavailable):
    """No connection to the engine could be made: it was given nothing."""


class EngineBusy(EngineUnavailable):
    """The engine's own queue refused. Nothing is wrong with it: ask it less."""


class CacheFull(EngineBusy):
    """The engine's KV memory could not hold all calls in flight: ask it less at once."""
