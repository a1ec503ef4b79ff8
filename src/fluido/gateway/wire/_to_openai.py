"""Ollama requests for an OpenAI engine (llama.cpp, vLLM, SGLang): chat, generate, embed and embeddings."""

from typing import Any

import msgspec

from fluido.gateway.wire import _messages as turns
from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._fields import Fields, texts
from fluido.gateway.wire._guard import Profile, shown
from fluido.gateway.wire._routes import Route
from fluido.gateway.wire._spans import encoded

ENGINE = "an engine of the OpenAI API"
LLAMA_CPP = "llama.cpp"
# The same on both sides, of the standard or of every engine that people run behind this API.
_SAME = frozenset(
    """temperature top_p top_k min_p typical_p presence_penalty frequency_penalty seed stop""".split()  # noqa: SIM905
)
# llama.cpp has these under Ollama's names, others not at all.
_LLAMA_CPP = frozenset({"repeat_last_n", "mirostat", "mirostat_tau", "mirostat_eta", "num_keep"})
_NAMES = {"num_keep": "n_keep"}
_FORGOTTEN = frozenset(
    {"tfs_z", "penalize_newline", "numa", "low_vram", "f16_kv", "vocab_only", "logits_all"}
)


def request(asked: Asked, profile: Profile) -> tuple[str, bytes, tuple[str, ...]]:
    """Path and body for such an engine, and what is otherwise than asked.

    Raises BadRequest by the field's name.
    """
    fields = Fields(asked.fields, ENGINE)
    fields.skip("model", "name", "keep_alive", "shift", "_debug_render_only")
    changed: list[str] = []
    body: dict[str, Any] = {"model": profile.model or asked.model}
    if asked.route is Route.EMBED:
        body.update(_embed(asked, fields))
        changed.extend(f"{name} {shown(value)}->unset" for name, value in asked.options.items())
        fields.skip("options", "truncate")
        fields.refuse_rest()
        return "/v1/embeddings", encoded(body), tuple(changed)
    if asked.route is Route.CHAT:
        path = "/v1/chat/completions"
        body.update(_chat(fields))
    else:
        path, made = _generate(fields, profile)
        body.update(made)
    fields.only("truncate", False, because="it cuts no prompt, and says so when one is too long")
    body.update(_options(asked, profile, changed))
    fields.skip("options", "stream")
    is_chat = path.endswith("chat/completions")
    body.update(_extras(fields, is_chat=is_chat))
    body["stream"] = asked.is_stream
    if asked.is_stream and path != "/infill":
        body["stream_options"] = {"include_usage": True}
    body.update(profile.extra)
    fields.refuse_rest()
    return path, encoded(body), tuple(changed)


def _chat(fields: Fields) -> dict[str, Any]:
    raw = fields.raw("messages")
    body: dict[str, Any] = {"messages": turns.of_ollama(raw) if raw is not None else []}
    if (tools := fields.raw("tools")) is not None and bytes(tools) != b"[]":
        body["tools"] = tools
    return body


def _generate(fields: Fields, profile: Profile) -> tuple[str, dict[str, Any]]:
    """A prompt by the model's template is a chat; a raw one, and one with a gap in it, is a completion."""
    fields.only("template", "", because="it has the model's own template")
    fields.only("context", [], because="it takes texts, not tokens; send the conversation to /api/chat")
    prompt, system = fields.string("prompt") or "", fields.string("system")
    suffix, raw = fields.string("suffix"), fields.flag("raw")
    images = texts(fields.take("images"), "images") or []
    if suffix or raw:
        if images:
            raise fields.uncarried("images", "a raw prompt has no place for them")
        if system and not raw:
            prompt = f"{system}\n{prompt}"
        if suffix and profile.kind == LLAMA_CPP:
            return "/infill", {"input_prefix": prompt, "input_suffix": suffix, "prompt": ""}
        return "/v1/completions", {"prompt": prompt, **({"suffix": suffix} if suffix else {})}
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": turns.content_with(prompt, images)})
    return "/v1/chat/completions", {"messages": messages}


def _extras(fields: Fields, *, is_chat: bool) -> dict[str, Any]:
    """Format, thinking and log probabilities."""
    body: dict[str, Any] = {}
    if (form := fields.raw("format")) is not None:
        body.update(_format(form))
    think = fields.take("think")
    if is_chat and isinstance(think, bool):
        body["chat_template_kwargs"] = {"enable_thinking": think}
    elif is_chat and isinstance(think, str):
        body["reasoning_effort"] = "high" if think == "max" else think
    elif think is not None and not isinstance(think, bool | str):
        raise BadRequest("think must be true, false, or low, medium, high or max", field="think")
    top = fields.take("top_logprobs")
    if fields.flag("logprobs"):
        body["logprobs"] = True if is_chat else int(top or 1)
        if is_chat and top:
            body["top_logprobs"] = top
    return body


def _format(form: msgspec.Raw) -> dict[str, Any]:
    said = bytes(form)
    if said == b'""':
        return {}
    if said == b'"json"':
        return {"response_format": {"type": "json_object"}}
    if said[:1] != b"{":
        raise BadRequest('format must be "json" or a JSON schema', field="format")
    schema = {"name": "answer", "strict": True, "schema": form}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _options(asked: Asked, profile: Profile, changed: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in asked.options.items():
        their_name = _name_there(name, profile)
        if name == "num_predict" or value is None or (name == "seed" and value == -1):
            continue  # the bound is below; -1 is Ollama's "any"
        if their_name:
            body[their_name] = texts(value, "options.stop") if name == "stop" else value
        else:
            # Runner options are the engine's own, and Ollama only warns of an option that it does not know.
            kept = profile.window_tokens if name == "num_ctx" and profile.window_tokens else None
            if value != kept:
                changed.append(f"{name} {shown(value)}->{shown(kept)}")
    bound = profile.most_tokens if asked.most_tokens is None else asked.most_tokens
    if bound is not None:
        body["max_tokens"] = bound
        if asked.most_tokens is None:
            changed.append(f"num_predict unset->{bound}")
    return body


def _name_there(name: str, profile: Profile) -> str:
    """What an option of Ollama is called by such an engine; empty where it has none."""
    is_llama_cpp = profile.kind == LLAMA_CPP
    if name in _SAME or (name in _LLAMA_CPP and is_llama_cpp):
        return _NAMES.get(name, name)
    if name == "repeat_penalty":
        return name if is_llama_cpp else "repetition_penalty"
    return ""


def _embed(asked: Asked, fields: Fields) -> dict[str, Any]:
    name = "prompt" if asked.path == "/api/embeddings" else "input"
    given = texts(fields.take(name), name)
    body: dict[str, Any] = {"input": given if given is not None else [""], "encoding_format": "float"}
    if name == "prompt" and given is not None:
        body["input"] = given[0]
    if dimensions := fields.take("dimensions"):
        body["dimensions"] = dimensions
    return body
