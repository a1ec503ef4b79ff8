"""What an OpenAI-compatible server does not take, found out by its refusals and remembered.

Each server knows a little less or other than the standard. A call that is refused is sent once more without
the thing that may be at fault, and what then works is what is sent from then on.
"""

from dataclasses import dataclass, replace

from fluido.llm.engines._refusals import bound_too_large, no_system_role, text_of, too_long

REFUSED = frozenset({400, 422})


@dataclass(frozen=True, slots=True)
class Habits:
    """How a server wants to be spoken to. `is_proven`: it answered a call that was sent like this.

    `stream_options` asks for figures at the end; `system` is the role of the system prompt; `bound` is the
    name of the bound on the answer.
    """

    stream_options: bool = True
    system: bool = True
    bound: str = "max_tokens"
    is_proven: bool = False

    def after(self, status: int, reply: object) -> "Habits | None":
        """How to ask again after a refusal; None where the call itself was refused."""
        said = text_of(reply)
        if status not in REFUSED or too_long(reply) or bound_too_large(said):
            return None
        if self.system and no_system_role(said):
            return replace(self, system=False, is_proven=False)
        if self.bound == "max_tokens" and "max_completion_tokens" in said:
            return replace(self, bound="max_completion_tokens", is_proven=False)
        if self.stream_options and ("stream_options" in said or not self.is_proven):
            return replace(self, stream_options=False)
        return None
