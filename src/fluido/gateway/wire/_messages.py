"""Chat messages between the APIs: roles, parts, pictures, tool calls, thoughts."""

import re
from typing import Any

import msgspec

from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._fields import is_object, listed, mapping_in

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+=-]+)*;base64,")
_ROLES = {"developer": "system", "function": "tool"}
# How the base64 of a picture begins.
_PICTURES = {"/9j/": "jpeg", "iVBOR": "png", "UklGR": "webp", "R0lGOD": "gif", "Qk": "bmp"}


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b'""')


class _ToolCall(msgspec.Struct):
    function: _Function
    id: str | None = None
    type: str | None = None


class _OpenAIMessage(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")
    name: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    thinking: str | None = None
    function_call: msgspec.Raw = msgspec.Raw(b"")
    audio: msgspec.Raw = msgspec.Raw(b"")


class _OllamaMessage(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


_OPENAI = msgspec.json.Decoder(_OpenAIMessage)
_OLLAMA = msgspec.json.Decoder(_OllamaMessage)


def of_openai(raw: msgspec.Raw) -> list[dict[str, Any]]:
    """OpenAI's messages as Ollama's."""
    names: dict[str, str] = {}
    return [_to_ollama(each, f"messages[{i}]", names) for i, each in enumerate(listed(raw, "messages"))]


def _to_ollama(raw: msgspec.Raw, place: str, names: dict[str, str]) -> dict[str, Any]:
    try:
        told = _OPENAI.decode(raw)
    except msgspec.MsgspecError as error:
        raise _wrong(place, str(error)) from error
    if is_object(told.function_call):
        raise _uncarried(place, "function_call", "it knows tool_calls")
    if is_object(told.audio):
        raise _uncarried(place, "audio", "it has no voice")
    role = told.role.lower()
    message: dict[str, Any] = {"role": _ROLES.get(role, role)}
    text, images = _content(told.content, place)
    message["content"] = text
    if images:
        message["images"] = images
    if thoughts := told.reasoning or told.reasoning_content or told.thinking:
        message["thinking"] = thoughts
    if told.tool_calls:
        message["tool_calls"] = [_call(call, i, place) for i, call in enumerate(told.tool_calls)]
        names.update({call.id: call.function.name for call in told.tool_calls if call.id})
    elif role == "assistant" and bytes(told.content) == b"null":
        message["content"] = ""
    if message["role"] == "tool":
        if told.tool_call_id:
            message["tool_call_id"] = told.tool_call_id
        if name := told.name or names.get(told.tool_call_id or ""):
            message["tool_name"] = name
    return message


def _call(call: _ToolCall, index: int, place: str) -> dict[str, Any]:
    """A call of the past. Its arguments are JSON in a text: they go on in their own order."""
    arguments = call.function.arguments
    if not is_object(arguments):
        text = msgspec.json.decode(arguments)
        try:
            arguments = msgspec.json.decode(str(text or "{}"), type=msgspec.Raw)
        except msgspec.MsgspecError as error:
            raise _wrong(place, f"the arguments of {call.function.name} are no JSON") from error
        if not is_object(arguments):
            raise _wrong(place, f"the arguments of {call.function.name} must be an object")
    made: dict[str, Any] = {"id": call.id} if call.id else {}
    made["function"] = {"index": index, "name": call.function.name, "arguments": arguments}
    return made


def _content(raw: msgspec.Raw, place: str) -> tuple[Any, list[str]]:
    """The text (as it came, where it is one) and the pictures of a message."""
    first = bytes(memoryview(raw)[:1])
    if first == b'"':
        return raw, []
    if first == b"n":
        return "", []
    if first != b"[":
        raise _wrong(place, "content must be a text or a list of parts")
    text: list[str] = []
    images: list[str] = []
    for i, part in enumerate(listed(raw, f"{place}.content")):
        _part(mapping_in(part, f"{place}.content[{i}]"), f"{place}.content[{i}]", text, images)
    return "\n".join(text), images


def _part(part: dict[str, Any], place: str, text: list[str], images: list[str]) -> None:
    kind = part.get("type")
    if kind in {"text", "input_text", "output_text", "refusal"}:
        said = part.get("text", part.get("refusal"))
        if not isinstance(said, str):
            raise _wrong(place, "text must be a string")
        text.append(said)
    elif kind in {"image_url", "input_image"}:
        images.append(_picture(part.get("image_url"), place))
    elif kind == "input_audio":
        held = part.get("input_audio")
        data = held.get("data") if isinstance(held, dict) else None
        if not isinstance(data, str):
            raise _wrong(place, "input_audio has no data")
        images.append(data)
    else:
        raise _uncarried(place, str(kind), "it takes texts, pictures and sounds")


def _picture(given: Any, place: str) -> str:
    url = given.get("url") if isinstance(given, dict) else given
    if not isinstance(url, str):
        raise _wrong(place, "image_url has no url")
    found = _DATA_URL.match(url[:200])
    if found is None:
        what = "an address: it fetches nothing" if url.startswith(("http:", "https:")) else "no data URL"
        raise _uncarried(place, "image_url", f"this is {what}; send data:image/png;base64,...")
    return url[found.end() :]


def of_ollama(raw: msgspec.Raw) -> list[dict[str, Any]]:
    """Ollama's messages as OpenAI's. Tool calls without an id get one, and the replies to them the same."""
    made: list[dict[str, Any]] = []
    waiting: list[tuple[str, str]] = []  # (name, id) of calls that no reply has named yet
    for i, each in enumerate(listed(raw, "messages")):
        place = f"messages[{i}]"
        try:
            told = _OLLAMA.decode(each)
        except msgspec.MsgspecError as error:
            raise _wrong(place, str(error)) from error
        message: dict[str, Any] = {"role": told.role.lower()}
        message["content"] = content_with(told.content, told.images or [])
        if told.thinking:
            message["reasoning_content"] = told.thinking
        if told.tool_calls:
            calls = [_openai_call(call, i, j) for j, call in enumerate(told.tool_calls)]
            waiting = [(call["function"]["name"], call["id"]) for call in calls]
            message["tool_calls"] = calls
        if message["role"] == "tool":
            _reply_to(message, told, waiting)
        made.append(message)
    return made


def _reply_to(message: dict[str, Any], told: _OllamaMessage, waiting: list[tuple[str, str]]) -> None:
    """The reply of a tool: to the call it names, else to the first that waits, of its name if one is."""
    found = told.tool_call_id or next((i for name, i in waiting if name == told.tool_name), None)
    if found is None and waiting:
        found = waiting[0][1]
    message["tool_call_id"] = found or "call_0"
    waiting[:] = [each for each in waiting if each[1] != found]
    if told.tool_name:
        message["name"] = told.tool_name


def _openai_call(call: _ToolCall, message: int, index: int) -> dict[str, Any]:
    arguments = call.function.arguments
    return {
        "id": call.id or f"call_{message}_{index}",
        "type": "function",
        "function": {
            "name": call.function.name,
            "arguments": str(bytes(arguments), "utf-8") if is_object(arguments) else "{}",
        },
    }


def content_with(text: msgspec.Raw | str, images: list[str]) -> Any:
    """A text, or parts where there are pictures."""
    if isinstance(text, msgspec.Raw) and bytes(memoryview(text)[:1]) == b"n":
        text = ""
    if not images:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts.extend(
        {"type": "image_url", "image_url": {"url": f"data:image/{_kind_of(image)};base64,{image}"}}
        for image in images
    )
    return parts


def _kind_of(image: str) -> str:
    return next((kind for begin, kind in _PICTURES.items() if image.startswith(begin)), "png")


def _wrong(place: str, why: str) -> BadRequest:
    return BadRequest(f"{place}: {why}", field="messages")


def _uncarried(place: str, what: str, because: str) -> BadRequest:
    return BadRequest(
        f"{place}: {what} cannot be carried to an Ollama: {because}",
        field="messages",
        code="unsupported_parameter",
    )
