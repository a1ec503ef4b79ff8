"""OpenAI requests for an Ollama engine: /v1/chat/completions, completions and embeddings by its own API.

Its own API keeps the context window, bounds the answer by every name of the bound, and tells errors in the
middle of a stream; Ollama's /v1 does none of these. What is not said is as on its /v1.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fluido.gateway.wire import _messages as turns
from fluido.gateway.wire._asked import Asked
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._fields import Fields, is_object, mapping_in, texts
from fluido.gateway.wire._guard import Profile, is_same_duration, shown
from fluido.gateway.wire._routes import Route
from fluido.gateway.wire._spans import encoded
from fluido.llm._profile import RUNNER_FIELDS

ENGINE = "an Ollama"
# What Ollama's own /v1 takes where a client says nothing; /api takes the model's.
V1_DEFAULTS: Mapping[str, float] = {"temperature": 1.0, "top_p": 1.0}
# Of the same name and meaning on both sides.
_SAME = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
# What clients add that know who is behind the API: Ollama's own options, at the top.
_OWN = ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "num_predict", "num_keep")
# They are for others: billing, caches, moderation, hints of speed.
_HINTS = (
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
    "verbosity",
)
_THINK: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def request(asked: Asked, profile: Profile) -> tuple[str, bytes, tuple[str, ...]]:
    """Path and body for an Ollama, and what is otherwise than asked.

    Raises BadRequest by the field's name.
    """
    fields = Fields(asked.fields, ENGINE)
    fields.skip("model", *_HINTS)
    changed: list[str] = []
    body: dict[str, Any] = {"model": profile.model or asked.model}
    if asked.route is Route.EMBED:
        body.update(_embed(fields))
        path = "/api/embed"
    else:
        chat = asked.route is Route.CHAT
        body.update(_chat(fields, changed) if chat else _generate(fields))
        body["stream"] = asked.is_stream
        path = "/api/chat" if chat else "/api/generate"
        _common(fields)
    options = {} if asked.route is Route.EMBED else _sampling(asked, fields)
    options.update(_runner(fields, profile, changed))
    if asked.route is not Route.EMBED and profile.most_tokens is not None and "num_predict" not in options:
        options["num_predict"] = profile.most_tokens
        changed.append(f"max_completion_tokens unset->{profile.most_tokens}")
    if options:
        body["options"] = options
    _kept(asked, fields, profile, body, changed)
    fields.refuse_rest()
    return path, encoded(body), tuple(changed)


def _common(fields: Fields) -> None:
    fields.skip("stream", "stream_options")
    fields.only("n", 1, because="it gives one answer at a time")
    fields.only("best_of", 1, because="it gives one answer at a time")
    fields.only("logit_bias", {}, because="it has no such field")


def _chat(fields: Fields, changed: list[str]) -> dict[str, Any]:
    raw = fields.raw("messages")
    messages = turns.of_openai(raw) if raw is not None else []
    if not messages:
        raise BadRequest("[] is too short - 'messages': say at least one", field="messages")
    body: dict[str, Any] = {"messages": messages}
    fields.only("modalities", ["text"], because="it answers in text")
    fields.only("audio", because="it answers in text")
    fields.only("web_search_options", because="it has no such field")
    fields.only("functions", [], because="it knows tools, not functions")
    fields.only("function_call", "none", "auto", because="it knows tools, not functions")
    tools = fields.raw("tools")
    choice = fields.take("tool_choice")
    fields.skip("parallel_tool_calls")
    if tools is not None and choice != "none":
        body["tools"] = _chosen(tools, choice, changed)
    if (form := _format(fields)) is not None:
        body["format"] = form
    if (think := _think(fields)) is not None:
        body["think"] = think
    if fields.flag("logprobs"):
        body["logprobs"] = True
    if (top := fields.take("top_logprobs")) is not None:
        body["top_logprobs"] = top
    return body


def _chosen(tools: msgspec.Raw, choice: Any, changed: list[str]) -> Any:
    """The tools, in their own order and bytes. It can be left one tool, and not be made to call it."""
    if choice in (None, "auto"):
        return tools
    changed.append(f"tool_choice {shown(_name_of(choice) or choice)}->auto")
    if not (wanted := _name_of(choice)):
        return tools
    each = msgspec.json.decode(tools, type=list[msgspec.Raw])
    kept = [tool for tool in each if _name_of(mapping_in(tool, "tools")) == wanted]
    if not kept:
        raise BadRequest(f"tool_choice names {wanted}, which is not among the tools", field="tool_choice")
    return kept


def _name_of(tool: Any) -> str:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else ""


class _Schema(msgspec.Struct):
    schema: msgspec.Raw = msgspec.Raw(b"")


class _ResponseFormat(msgspec.Struct):
    type: str = ""
    json_schema: _Schema | None = None


def _format(fields: Fields) -> Any:
    """`json` or the schema as it came: the order of its properties is the order of the answer's."""
    own = fields.raw("format")
    raw = fields.raw("response_format")
    if raw is None:
        return own
    try:
        form = msgspec.json.decode(raw, type=_ResponseFormat)
    except msgspec.MsgspecError as error:
        raise BadRequest("response_format must be an object with a type", field="response_format") from error
    if form.type == "json_object":
        return "json"
    if form.type == "json_schema":
        if form.json_schema is None or not is_object(form.json_schema.schema):
            raise BadRequest("response_format.json_schema has no schema", field="response_format")
        return form.json_schema.schema
    if form.type in {"text", ""}:
        return None
    raise fields.uncarried("response_format", f"{form.type} is no format of it")


def _think(fields: Fields) -> bool | str | None:
    effort = fields.string("reasoning_effort")
    reasoning = fields.take("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort") is not None:
        effort = str(reasoning["effort"])
    kwargs = fields.take("chat_template_kwargs")
    think = fields.take("think")
    if effort:
        if effort not in _THINK:
            raise BadRequest(
                f"reasoning_effort {effort!r} is none of {', '.join(_THINK)}", field="reasoning_effort"
            )
        return _THINK[effort]
    if isinstance(kwargs, dict):
        if set(kwargs) - {"enable_thinking", "thinking"}:
            raise fields.uncarried("chat_template_kwargs", "of these it knows enable_thinking")
        wanted = kwargs.get("enable_thinking", kwargs.get("thinking"))
        return wanted if isinstance(wanted, bool) else None
    return think if isinstance(think, bool | str) else None


def _generate(fields: Fields) -> dict[str, Any]:
    prompt = fields.take("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, list):
        what = "one prompt at a time" if all(isinstance(each, str) for each in prompt) else "text, not tokens"
        raise fields.uncarried("prompt", f"it takes {what}")
    if prompt is not None and not isinstance(prompt, str):
        raise BadRequest("prompt must be a string", field="prompt")
    body: dict[str, Any] = {"prompt": prompt or ""}
    if suffix := fields.string("suffix"):
        body["suffix"] = suffix
    fields.only("echo", False, because="it does not repeat the prompt")
    if (form := _format(fields)) is not None:
        body["format"] = form
    logprobs = fields.take("logprobs")
    if isinstance(logprobs, int) and logprobs > 0:
        body["logprobs"], body["top_logprobs"] = True, int(logprobs)
    if fields.flag("raw"):
        body["raw"] = True
    return body


def _embed(fields: Fields) -> dict[str, Any]:
    given = fields.take("input")
    if given is None or given == []:
        raise BadRequest("input must be a text or a list of texts", field="input")
    if isinstance(given, list) and not all(isinstance(each, str) for each in given):
        raise fields.uncarried("input", "it takes texts, not tokens")
    body: dict[str, Any] = {"input": given}
    form = fields.string("encoding_format")
    if form is not None and form.lower() not in {"float", "base64"}:
        raise BadRequest(f"encoding_format {form!r} is neither float nor base64", field="encoding_format")
    if (dimensions := fields.take("dimensions")) is not None:
        body["dimensions"] = dimensions
    return body


def _sampling(asked: Asked, fields: Fields) -> dict[str, Any]:
    options: dict[str, Any] = dict(V1_DEFAULTS)
    for name in (*_SAME, *_OWN):
        if (value := fields.take(name)) is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadRequest(f"{name} must be a number", field=name)
            options[name] = value
    if (stop := texts(fields.take("stop"), "stop")) is not None:
        options["stop"] = stop
    fields.skip("max_tokens", "max_completion_tokens")
    if asked.most_tokens is not None:
        options["num_predict"] = asked.most_tokens
    return options


def _runner(fields: Fields, profile: Profile, changed: list[str]) -> dict[str, Any]:
    """Ollama's `options`, where a client sent them, and the runner's in force over them."""
    given = fields.take("options")
    if given is not None and not isinstance(given, dict):
        raise BadRequest("options must be an object", field="options")
    wanted: dict[str, Any] = dict(given or {})
    for name in sorted(RUNNER_FIELDS):
        if (value := fields.take(name)) is not None:
            wanted.setdefault(name, value)
    if not profile.is_guarding:
        return wanted
    for name in sorted(RUNNER_FIELDS):
        before, after = wanted.pop(name, None), profile.runner.get(name)
        if before is not None and before != after:
            changed.append(f"{name} {shown(before)}->{shown(after)}")
        if after is not None:
            wanted[name] = after
    return wanted


def _kept(asked: Asked, fields: Fields, profile: Profile, body: dict[str, Any], changed: list[str]) -> None:
    """What belongs to the runner and to the window beside the options."""
    truncate = fields.flag("truncate")
    shift = fields.flag("shift")
    fields.skip("keep_alive")
    if asked.route is not Route.EMBED:
        if truncate is None and profile.is_guarding and not profile.truncates:
            truncate = False
        if truncate is not None:
            body["truncate"] = truncate
    keep_alive = asked.keep_alive
    if profile.is_guarding:
        if keep_alive is not None and not is_same_duration(keep_alive, profile.keep_alive):
            changed.append(f"keep_alive {shown(keep_alive)}->{shown(profile.keep_alive)}")
        keep_alive = profile.keep_alive
        if shift is not None and shift != profile.shift:
            changed.append(f"shift {shown(shift)}->{shown(profile.shift)}")
        shift = profile.shift
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    if shift is not None:
        body["shift"] = shift
