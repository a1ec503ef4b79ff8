"""From what the caller asked to what the engine gets.

Options filled by a policy where there is one, turns that alternate, history within the window, prefix known.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, replace

from fluido.llm._call import Call, Kind, Message, Options
from fluido.llm._engine import EngineFacts
from fluido.llm._errors import PromptTooLong
from fluido.llm.prompt._budget import (
    LAST_MESSAGES,
    LOW,
    REFUSED_WITHOUT_COUNT,
    Budget,
    TokenEstimate,
    system_messages,
)
from fluido.llm.prompt._prefix import Prefix
from fluido.llm.prompt._presets import Presets
from fluido.llm.prompt._spoken import spoken
from fluido.llm.prompt._thoughts import without_thoughts

# Where nobody bounds the answer, so much of the window is kept free for it.
ANSWER_SHARE = 4
# A window learned from a refusal is believed for so many answers, then tried again: servers are restarted.
BELIEVED_ANSWERS = 200


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent. `tokens` is an estimate of its length; `dropped` messages were left out at the front."""

    call: Call
    prefix: Prefix
    tokens: int
    dropped: int


@dataclass(slots=True)
class _Learned:
    """A window that an engine told in a refusal, and how many answers ago."""

    tokens: int
    answers: int = 0


class Composer:
    """Writes prompts so that the next one begins as this one did."""

    def __init__(self, presets: Presets, budget: Budget) -> None:
        self.presets = presets
        self._budget = budget
        self._estimates: defaultdict[str, TokenEstimate] = defaultdict(TokenEstimate)
        self._windows: dict[tuple[object, ...], _Learned] = {}
        self._thinkers: set[tuple[str, str]] = set()

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
        estimate, window = self._estimate(call, facts), self.window(call, facts)
        messages = spoken(call.messages)
        fitted = self._budget.fit(
            messages,
            conversation=call.conversation,
            window_tokens=window,
            output_tokens=max(0, options.num_predict or 0) or window // ANSWER_SHARE,
            estimate=estimate,
            trim=call.trim,
            base_tokens=None if cold_tokens is None else _base_tokens(messages, estimate, cold_tokens),
            comfort_tokens=None if comfort_tokens is None else _comfort(messages, estimate, comfort_tokens),
        )
        if call.options.num_predict is None and _is_plain(facts):
            options = _within(options, window - fitted.tokens if window else None)
        model = facts.named(call.model) if facts else call.model
        return Prompt(
            call=replace(call, kind=kind, model=model, options=options, messages=fitted.messages),
            prefix=Prefix.of(
                fitted.messages,
                fitted.sizes,
                seed=(model, call.think),
                conversation=call.conversation,
            ),
            tokens=fitted.tokens,
            dropped=fitted.dropped,
        )

    def _estimate(self, call: Call, facts: EngineFacts | None) -> TokenEstimate:
        model = facts.named(call.model) if facts else call.model
        known = self._estimates.get(model)
        return TokenEstimate() if known is None else known

    def window(self, call: Call, facts: EngineFacts | None) -> int:
        """The window believed in: what the engine says, or said when it refused a prompt; 0: unknown."""
        if facts is None:
            return 0
        learned = self._windows.get(_key(call, facts))
        return facts.context_tokens if learned is None else learned.tokens

    def answered(self, prompt: Prompt, answer: str) -> Prefix:
        """What the engine holds after it generated `answer`, as it will be sent back."""
        message = Message("assistant", without_thoughts(answer))
        if not message.content.strip():
            return prompt.prefix
        return prompt.prefix.followed_by(message, self._estimates[prompt.call.model].of(message))

    def outgrown(self, prompt: Prompt, error: PromptTooLong, facts: EngineFacts | None) -> None:
        """The engine refused the prompt as too long: learn its window and its count, where it told them.

        Without a count the prompt is taken to be somewhat longer than the window; without a window either,
        the window to be somewhat shorter than the prompt.
        """
        estimate = self._estimates[prompt.call.model]
        estimated = estimate.of_all(prompt.call.messages)
        window = error.context_tokens or self.window(prompt.call, facts)
        counted = error.prompt_tokens
        if not window:
            window = math.floor((counted or estimated) / REFUSED_WITHOUT_COUNT)
        if facts is not None and window != facts.context_tokens:
            key = _key(prompt.call, facts)
            for old in [known for known in self._windows if known[:2] == key[:2]]:
                del self._windows[old]
            self._windows[key] = _Learned(window)
        if counted:
            estimate.outgrown(prompt.call.messages, counted)
        elif estimated <= window:
            estimate.outgrown(prompt.call.messages, math.ceil(REFUSED_WITHOUT_COUNT * window))

    def thought(self, prompt: Prompt, facts: EngineFacts | None) -> None:
        """The model was seen thinking: a policy's bound has to hold its thoughts too."""
        if facts is not None:
            self._thinkers.add((facts.name, prompt.call.model))

    def options(self, call: Call, kind: Kind, facts: EngineFacts | None) -> Options:
        """The options in effect: the caller's, and the policy's where neither caller nor author spoke."""
        thinks = call.think is not False and facts is not None
        if thinks and facts is not None:
            thinks = facts.thinks or (facts.name, facts.named(call.model)) in self._thinkers
        author = facts.defaults if facts else Options()
        return self.presets.filled(call.options, kind, author=author, thinks=thinks, plain=_is_plain(facts))

    def learn(self, prompt: Prompt, prompt_tokens: int, facts: EngineFacts | None = None) -> None:
        """The engine answered, and counted the prompt's tokens."""
        self._estimates[prompt.call.model].learn(prompt.call.messages, prompt_tokens)
        if facts is None:
            return
        learned = self._windows.get(_key(prompt.call, facts))
        if learned is not None:
            learned.answers += 1
            if learned.answers >= BELIEVED_ANSWERS or prompt_tokens > learned.tokens:
                del self._windows[_key(prompt.call, facts)]


def _key(call: Call, facts: EngineFacts) -> tuple[object, ...]:
    """A model as it is loaded now: loaded otherwise, it may have another window."""
    return (facts.name, facts.named(call.model), facts.instance, facts.context_tokens)


def _is_plain(facts: EngineFacts | None) -> bool:
    """A server of which nothing is known but that it speaks OpenAI's dialect."""
    return facts is not None and facts.kind == "openai"


def _within(options: Options, left_tokens: int | None) -> Options:
    """A policy's bound is left out where it does not fit: vLLM refuses the call, and the window bounds it."""
    bound = options.num_predict
    if left_tokens is None or bound is None or bound <= left_tokens:
        return options
    return replace(options, num_predict=None)


def _base_tokens(messages: tuple[Message, ...], estimate: TokenEstimate, cold_tokens: float) -> int:
    sizes = [estimate.of(message) for message in messages]
    head = system_messages(messages)
    return sum(sizes[:head]) + int(max(sum(sizes[head:][-LAST_MESSAGES:]), cold_tokens))


def _comfort(messages: tuple[Message, ...], estimate: TokenEstimate, comfort_tokens: float) -> int:
    """Never so little that the last exchanges would be cut."""
    return max(int(comfort_tokens), int(_base_tokens(messages, estimate, 0.0) / LOW))
