"""What an engine says when it refuses a call: its text out of any shape of reply, and what the text means.

Servers tell "the prompt is longer than the window" in words of their own, some with both numbers, some under
a status that says nothing. The patterns are the texts of Ollama 0.12 to 0.40, llama.cpp, vLLM, SGLang, LM
Studio, TabbyAPI, TGI, OpenAI and LiteLLM; each has a test with the sentence as it comes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fluido.llm._errors import MAX_SAID_CHARS, PromptTooLong
from fluido.llm.engines._wire import mapping, number, text

# What llama.cpp says when the KV memory that its slots share is full.
_FULL = ("Context size has been exceeded", "failed to find a memory slot", "no available kv")
# Where the text of an error stands, in the order in which it is looked for.
TEXT_FIELDS = ("message", "msg", "error", "detail", "details", "reason", "title")
DEPTH = 4

N = r"(?P<{}>\d[\d,]*)"
_PROMPT, _WINDOW, _BOUND = N.format("prompt"), N.format("window"), N.format("bound")
# A bound on the answer that does not fit beside the prompt: the history is not what is wrong.
_BOUND_TOO_LARGE = (
    rf"is too large: {_BOUND}\..*?context length is {_WINDOW} tokens.*?has {_PROMPT} input tokens",
    rf"context length is {_WINDOW} tokens.*?requested {_BOUND} output tokens",
    rf"max_(?:completion_)?tokens.{{0,40}} is too large: {_BOUND}",
    r"max_tokens must be at least 1",
)
_TOO_LONG = (
    # llama.cpp, and Ollama from 0.30
    rf"request \({_PROMPT} tokens\) exceeds the available context size \({_WINDOW} tokens\)",
    r"exceeds the available context(?: size)?",
    r"exceed_context_size_error",
    # Ollama to 0.20
    r"input length exceeds (?:the )?(?:maximum )?context length",
    r"prompt too long; exceeded (?:max )?context",
    # vLLM, OpenAI, and who speaks like them
    rf"maximum context length is {_WINDOW} tokens.*?\({_PROMPT} in the messages",
    rf"maximum context length is {_WINDOW} tokens.*?(?:requested|resulted in|least|has) {_PROMPT} [it]",
    rf"maximum context length is {_WINDOW}",
    rf"passed {_PROMPT} input tokens.*?context length is only {_WINDOW} tokens",
    rf"prompt \(length {_PROMPT}\) is longer than the maximum model length of {_WINDOW}",
    r"context_length_exceeded",
    r"ContextWindowExceededError",
    r"reduce the length of the (?:messages|prompt|input)",
    # SGLang
    rf"input \({_PROMPT} tokens\) is longer than the model's context length \({_WINDOW} tokens\)",
    rf"maximum context length of {_WINDOW} tokens.*?{_PROMPT} tokens from the input",
    # LM Studio
    rf"keep the first {_PROMPT} tokens.*?context length of only {_WINDOW} tokens",
    rf"n_keep: {_PROMPT}\s*>=\s*n_ctx: {_WINDOW}",
    r"greater than the context length",
    rf"Reached context length of {_WINDOW} tokens",
    # TabbyAPI and its exllama
    rf"length \(?{_PROMPT}\)? (?:is greater than|exceeds) (?:the )?max_seq_len(?:gth)? \(?{_WINDOW}",
    r"(?:is greater than|exceeds) (?:the )?(?:max_seq_len|model's max)",
    # TGI
    rf"must have less than {_WINDOW} tokens. Given: {_PROMPT}",
    rf"must be <= {_WINDOW}\. Given: {_PROMPT} `inputs` tokens",
    # others
    rf"prompt (?:is )?too long:? {_PROMPT} tokens (?:>|exceeds.*?of) {_WINDOW}",
    r"prompt is too long",
)
_TOO_LONG_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _TOO_LONG)
_BOUND_PATTERNS = tuple(re.compile(pattern, re.IGNORECASE | re.DOTALL) for pattern in _BOUND_TOO_LARGE)
# Templates of Gemma 1 and 2 and of Mistral's first models.
_NO_SYSTEM = ("system role not supported", "roles must alternate", "only user and assistant roles")
# Said where a model is not there by servers that answer 400 (llama-swap, LocalAI, proxies).
_NO_SUCH_MODEL = re.compile(
    r"could not find|no such|not found|does not exist|doesn't exist|unknown model|invalid model",
    re.IGNORECASE,
)
# Said by llama.cpp when slots that share one memory have filled it together: no single prompt is to blame.
_SHARED_MEMORY = "context size has been exceeded"


@dataclass(frozen=True, slots=True)
class TooLong:
    """A prompt over the window, by the engine's count; 0 where it told none."""

    prompt_tokens: int = 0
    context_tokens: int = 0


def text_of(reply: object, depth: int = DEPTH) -> str:
    """The text of an error reply, whatever its shape; "" when it holds none.

    `{"error": {"message"}}`, `{"error": "text"}`, `{"message"}`, `{"detail": "text"}`, `{"detail": [{"msg",
    "loc"}]}`, a list of them, or an engine's reply as JSON inside a text.
    """
    return _text_of(reply, depth).strip()[:MAX_SAID_CHARS]


def _text_of(reply: object, depth: int) -> str:
    if isinstance(reply, str):
        return reply
    if depth <= 0:
        return ""
    if isinstance(reply, list):
        return "; ".join(filter(None, (_text_of(item, depth - 1) for item in reply[:5])))
    if not isinstance(reply, Mapping):
        return ""
    for name in TEXT_FIELDS:
        found = _text_of(reply.get(name), depth - 1)
        if found:
            place = reply.get("loc")
            return f"{'.'.join(map(str, place))}: {found}" if isinstance(place, list) and place else found
    return ""


def is_error(chunk: Mapping[str, object]) -> bool:
    """Whether a chunk of a stream is an error. `"error": null` is none; a choice beside it is an answer."""
    if chunk.get("error"):
        return True
    said = chunk.get("object") == "error" or "detail" in chunk or "message" in chunk
    return said and not chunk.get("choices") and "done" not in chunk and bool(text_of(chunk))


def status_of(chunk: Mapping[str, object]) -> int:
    """The HTTP status that an error event names for itself; 0 where it names none."""
    for holder in (mapping(chunk.get("error")), chunk):
        for name in ("code", "status", "status_code"):
            code = holder.get(name)
            if isinstance(code, str) and code.isdigit():
                code = int(code)
            if isinstance(code, int) and 400 <= code < 600:
                return code
    return 0


def too_long(reply: object) -> TooLong | None:
    """What the engine counted, when it refused a prompt for its length; None for any other refusal."""
    error = mapping(mapping(reply).get("error")) or mapping(reply)
    if "n_prompt_tokens" in error:
        return TooLong(int(number(error["n_prompt_tokens"])), int(number(error.get("n_ctx"))))
    said = _all_text(reply)
    if _SHARED_MEMORY in said.lower() or bound_too_large(said):
        return None
    for pattern in _TOO_LONG_PATTERNS:
        if found := pattern.search(said):
            told = found.groupdict()
            return TooLong(
                _whole(told.get("prompt")) or _field(said, "n_prompt_tokens"),
                _whole(told.get("window")) or _field(said, "n_ctx"),
            )
    return None


def prompt_too_long(reply: object, status: int) -> PromptTooLong | None:
    """The error for a refusal that has both numbers itself; None for any other refusal."""
    over = too_long(reply)
    if over is None:
        return None
    said = text_of(reply)
    return PromptTooLong(
        said or "the prompt does not fit the model's window",
        prompt_tokens=over.prompt_tokens,
        context_tokens=over.context_tokens,
        status=status,
        said=said,
    )


def memory_is_full(said: str) -> bool:
    """Whether the engine's shared KV memory had no room for the call."""
    return any(sign in said for sign in _FULL)


def bound_too_large(said: str) -> bool:
    """Whether the engine refused the bound on the answer, not the prompt: no shorter history helps."""
    for pattern in _BOUND_PATTERNS:
        if found := pattern.search(said):
            told = found.groupdict()
            bound, window = _whole(told.get("bound")), _whole(told.get("window"))
            return not window or bound >= window
    return False


def no_system_role(said: str) -> bool:
    """Whether a template refused the system prompt: by name, or because a user has to begin."""
    return any(sign in said.lower() for sign in _NO_SYSTEM)


def names_no_model(said: str) -> bool:
    """Whether a refusal is about a model that is not there."""
    return "model" in said.lower() and _NO_SUCH_MODEL.search(said) is not None


def _all_text(reply: object) -> str:
    """The text with the code and type beside it, which some servers put in place of words."""
    error = mapping(mapping(reply).get("error")) or mapping(reply)
    return " ".join([text_of(reply), text(error.get("code")), text(error.get("type"))])


def _whole(digits: str | None) -> int:
    return int(digits.replace(",", "")) if digits else 0


def _field(said: str, name: str) -> int:
    """A number out of JSON that came inside of a text."""
    found = re.search(rf'"{name}"\s*:\s*(\d+)', said)
    return int(found.group(1)) if found else 0
