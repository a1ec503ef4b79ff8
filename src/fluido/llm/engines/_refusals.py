"""What an engine says when it refuses a call: its text out of any shape of reply, what text and status mean.

Servers tell "the prompt is longer than the window" in words of their own, some with both numbers, some under
a status that says nothing. The patterns are the texts of Ollama 0.12 to 0.40, llama.cpp, vLLM, SGLang, LM
Studio, TabbyAPI, TGI, OpenAI and LiteLLM; each has a test with the sentence as it comes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm._errors import (
    MAX_SAID_CHARS,
    CallFailed,
    CallRejected,
    EngineBusy,
    PromptTooLong,
    StreamBroken,
)
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
# Statuses that say the same whatever server sends them: locked, busy, gone, given up.
NO_KEY = frozenset({401, 403, 407})
# 529: overloaded, as hosted APIs say.
BUSY = frozenset({429, 503, 529})
BUSY_RETRY_S = 1.0
FORBIDDEN = 403
# A proxy that says so has nobody behind it; from 520 on Cloudflare's.
BAD_GATEWAY = frozenset({502, 520, 521, 522, 523, 525, 526, 527, 530})
# A proxy in front of the engine waited for the first token and gave up (Cloudflare says 524). The engine
# works on: that call was too long for the proxy's patience, and nobody else's is.
GAVE_UP = frozenset({408, 504, 524})
# What an Ollama says when the process that runs the model is gone.
RUNNER_GONE = ("process has terminated", "no longer running", "connection refused", "connection reset", "EOF")
KEY_MEND = "a key (api_key=) or a header (headers=)"
REFUSED = frozenset({400, 422})


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


def locked(name: str, status: int, path: str, *, mend: str = KEY_MEND) -> EngineUnavailable:
    """What is said of a server that lets nobody in; `mend` is where its key is told."""
    return EngineUnavailable(f"{name} answers {status} to {path}: it wants {mend}")


def runner_is_gone(status: int, said: str) -> bool:
    """Whether the model's process died: not this call's doing, and the next one loads the model again."""
    return status >= 500 and any(sign in said for sign in RUNNER_GONE)


def refused_by_status(
    name: str,
    path: str,
    status: int,
    said: str,
    *,
    is_proven: bool,
    retry_after_s: float | None,
    mend: str = KEY_MEND,
) -> FluidoError:
    """The error for a call that `name` answered with `status` and `said`.

    `is_proven`: it has let us in before, so that a 403 is about this call (a proxy that filters what is said)
    and not about our key.
    """
    if status in BUSY:
        return EngineBusy(f"{name}: {said or status}", retry_after_s=retry_after_s or BUSY_RETRY_S)
    if status in GAVE_UP:
        more = f": {said[:100]}" if said else ""
        return StreamBroken(
            f"{name} answers {status}{more}: a proxy in front of the engine gave up waiting for the first "
            "token; raise its read timeout",
            told=True,
        )
    if status in NO_KEY and not (status == FORBIDDEN and is_proven):
        return locked(name, status, path, mend=mend)
    if status < 500:
        why = said or f"it answered {status} without a reason"
        return CallRejected(f"the engine refused the call: {why}", status=status, said=said)
    if status in BAD_GATEWAY or not said:
        return EngineUnavailable(f"{name} answers {status}: {said[:100]}")
    return CallFailed(f"the engine failed at this call: {said}", status=status, said=said)


@dataclass(frozen=True, slots=True)
class Habits:
    """What an OpenAI-compatible server does not take, found out by its refusals and remembered.

    Each server knows a little less or other than the standard. A call that is refused is sent once more
    without the thing that may be at fault, and what then works is what is sent from then on. `is_proven`: it
    answered a call that was sent like this.

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
