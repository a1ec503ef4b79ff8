"""From what the caller asked to what the engine gets.

Options filled, history within the window, prefix known.
"""

from dataclasses import dataclass, replace

from fluido.llm.budget import LOW, Budget, TokenEstimate
from fluido.llm.call import Call, Kind, Message, Options
from fluido.llm.engine import EngineFacts
from fluido.llm.prefix import Prefix
from fluido.llm.presets import Presets

LAST_MESSAGES = 4  # a cold history is never cut below the question and the three messages before it


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent. `tokens` is an estimate of its length; `dropped` messages were left out at the front."""

    call: Call
    prefix: Prefix
    tokens: int
    dropped: int


class Composer:
    """Writes prompts so that the next one begins as this one did."""

    def __init__(self, presets: Presets, budget: Budget) -> None:
        self.presets = presets
        self._budget = budget
        self._tokens = TokenEstimate()

    def compose(
        self,
        call: Call,
        kind: Kind,
        facts: EngineFacts | None,
        *,
        cold_tokens: float | None = None,
        comfort_tokens: float | None = None,
    ) -> Prompt:
        """The prompt for one engine; see `Budget.fit`.

        `cold_tokens`: nothing of this conversation is resident, and so many tokens of history are worth
        computing again. `comfort_tokens`: a longer prompt costs those who wait too much.
        """
        options = self.options(call, kind, facts)
        fitted = self._budget.fit(
            call.messages,
            conversation=call.conversation,
            window_tokens=facts.context_tokens if facts else 0,
            output_tokens=options.num_predict or 0,
            estimate=self._tokens,
            trim=call.trim,
            base_tokens=None if cold_tokens is None else self._base_tokens(call.messages, cold_tokens),
            comfort_tokens=None if comfort_tokens is None else self._comfort(call.messages, comfort_tokens),
        )
        return Prompt(
            call=replace(call, kind=kind, options=options, messages=fitted.messages),
            prefix=Prefix.of(
                fitted.messages,
                [self._tokens.of(m) for m in fitted.messages],
                seed=(call.model, call.think),
                conversation=call.conversation,
            ),
            tokens=fitted.tokens,
            dropped=fitted.dropped,
        )

    def _base_tokens(self, messages: tuple[Message, ...], cold_tokens: float) -> int:
        sizes = [self._tokens.of(m) for m in messages]
        head = 0
        while head < len(messages) and messages[head].role == "system":
            head += 1
        return sum(sizes[:head]) + int(max(sum(sizes[head:][-LAST_MESSAGES:]), cold_tokens))

    def _comfort(self, messages: tuple[Message, ...], comfort_tokens: float) -> int:
        """Never so little that the last exchanges would be cut."""
        return max(int(comfort_tokens), int(self._base_tokens(messages, 0.0) / LOW))

    def answered(self, prompt: Prompt, answer: str) -> Prefix:
        """What the engine holds after it generated `answer`."""
        message = Message("assistant", answer)
        return prompt.prefix.followed_by(message, self._tokens.of(message))

    def outgrown(self, prompt: Prompt, prompt_tokens: int) -> None:
        """The engine counted more tokens than its window holds."""
        self._tokens.outgrown(prompt.call.messages, prompt_tokens)

    def options(self, call: Call, kind: Kind, facts: EngineFacts | None) -> Options:
        """The options in effect: the caller's, and the kind's where neither caller nor author spoke."""
        thinks = call.think is not False and facts is not None and facts.thinks
        author = facts.defaults if facts else Options()
        return self.presets.filled(call.options, kind, author=author, thinks=thinks)

    def learn(self, prompt: Prompt, prompt_tokens: int) -> None:
        """The engine counted the prompt's tokens."""
        self._tokens.learn(prompt.call.messages, prompt_tokens)
