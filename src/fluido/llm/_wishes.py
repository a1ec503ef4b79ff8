"""What a caller asks of a model's runner, against what is loaded."""

from fluido.llm._call import Call
from fluido.llm._engine import EngineFacts
from fluido.llm._errors import CallRejected
from fluido.llm._profile import RUNNER_FIELDS, Wishes


def refuse_other_runner(call: Call, facts: EngineFacts | None) -> None:
    """Raise CallRejected for the first runner option that is not the one in force, where that is the rule."""
    if facts is None or facts.wishes is not Wishes.STRICT:
        return
    for name, value in sorted(call.runner.items()):
        if name in RUNNER_FIELDS and facts.runner.get(name) != value:
            kept = facts.runner.get(name, "its own")
            raise CallRejected(
                f"{name}={value} would reload the model, which keeps {name}={kept}: ask without it",
                field=name,
            )


def wider_window(call: Call, facts: EngineFacts | None) -> int:
    """The larger window that `call` asks for where such wishes are planned for, else 0."""
    asked = call.runner.get("num_ctx")
    if facts is None or facts.wishes is not Wishes.PLANNED or facts.named(call.model) != facts.named(""):
        return 0
    return asked if isinstance(asked, int) and asked > facts.context_tokens else 0
