"""What an engine or a call can do wrong beyond `fluido.errors`; each keeps the parent's next step."""

from fluido.errors import EngineUnavailable, FluidoError


class CallRejected(FluidoError):
    """The call itself is wrong: asking again unchanged is useless. `field` names what to change."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class PromptTooLong(CallRejected):
    """The prompt does not fit the window. Trim it; both numbers are in tokens and may be estimates."""

    def __init__(self, message: str, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(message, field="messages")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ModelMissing(CallRejected):
    """No engine has this model. Pull it or name another; `near` are similar names that it has."""

    def __init__(self, message: str, *, model: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(f"{message}; near names: {', '.join(near)}" if near else message, field="model")
        self.model = model
        self.near = near


class StreamBroken(EngineUnavailable):
    """The engine stopped before it said that it was done.

    What arrived stays valid text, but is not an answer.
    """


class EngineBusy(EngineUnavailable):
    """The engine's own queue refused. Nothing is wrong with it: ask it less."""
