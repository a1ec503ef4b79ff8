"""Request cost: the tokens of a prompt by its bytes, its images, and the hash chain of its prefix.

Nothing is tokenized: an engine's own counts correct these figures later. Hashes are of this process.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._spans import Members

# As fluido.llm.prompt._budget guesses before an engine has counted.
TOKENS_PER_BYTE, TOKENS_PER_WIDE_BYTE = 0.3, 0.5
MESSAGE_TOKENS = 5
# `{"role":"user","content":""}`: what a message is written with, and no tokenizer sees.
MESSAGE_BYTES = 28
_FRAME_TOKENS = math.ceil(MESSAGE_BYTES * TOKENS_PER_BYTE)
# What one picture becomes in the models people run: from 256 (Gemma 3) over 576 (LLaVA) to 1,600 and more.
IMAGE_TOKENS = 768
# What a request may say without the rendered prompt being another one. All else is taken to change it, known
# or not: then a prefix is thought to be cold, which costs a guess and no wrong answer.
NOT_OF_THE_PROMPT = frozenset(
    """messages prompt input stream stream_options keep_alive options user metadata safety_identifier store
    temperature top_p top_k min_p seed stop n best_of max_tokens max_completion_tokens n_predict logprobs
    top_logprobs presence_penalty frequency_penalty repeat_penalty repetition_penalty logit_bias truncate
    shift service_tier prompt_cache_key cache_prompt id_slot timings_per_token suffix images""".split()  # noqa: SIM905
)
_NO_WIDE = bytes(range(128, 256))
_EMPTY = msgspec.Raw(b"")
# Where msgspec says that an error is: `$[3]`.
_PLACE = re.compile(r"\$\[(\d+)\]")
_LISTED = msgspec.json.Decoder(list[msgspec.Raw])


class _Message(msgspec.Struct):
    role: Any = ""
    content: msgspec.Raw = _EMPTY
    images: msgspec.Raw = _EMPTY


class _Part(msgspec.Struct):
    type: Any = ""
    text: Any = ""
    image_url: msgspec.Raw = _EMPTY
    input_audio: msgspec.Raw = _EMPTY


_MESSAGES = msgspec.json.Decoder(list[_Message])
_PARTS = msgspec.json.Decoder(list[_Part])


@dataclass(frozen=True, slots=True)
class Weight:
    """`tokens[i]` is all up to message i, whose prefix is `chain[i]`. `head` messages are the system's."""

    tokens: tuple[int, ...] = ()
    chain: tuple[int, ...] = ()
    images: int = 0
    head: int = 0
    only: bytes = (
        b""  # the content of the only message after the head, as it came; empty where there are more
    )

    @property
    def total(self) -> int:
        """The tokens of the whole prompt."""
        return self.tokens[-1] if self.tokens else 0


def tokens_of(text: bytes) -> int:
    """Tokens of a text in JSON, estimated by its script."""
    wide = 0 if text.isascii() else len(text) - len(text.translate(None, _NO_WIDE))
    return math.ceil((len(text) - wide) * TOKENS_PER_BYTE + wide * TOKENS_PER_WIDE_BYTE)


def of_messages(members: Members) -> Weight:
    """The weight of a chat. Raises BadRequest where `messages` is no list of objects."""
    whole = _bytes(members, "messages")
    if whole in {b"", b"null"}:
        return Weight()
    each, told = _messages(whole)
    value = _seed(members)
    total = tokens_of(_bytes(members, "tools"))
    tokens, chain = [], []
    images = head = 0
    for place, (message, parts) in enumerate(zip(each, told, strict=True)):
        raw = bytes(message)
        value = hash((value, raw))
        if parts.images is not _EMPTY or bytes(memoryview(parts.content)[:1]) == b"[":
            pictures, picture_bytes = _pictures(parts, place)
            raw = raw[: max(0, len(raw) - picture_bytes)]
            images += pictures
            total += pictures * IMAGE_TOKENS
        total += MESSAGE_TOKENS + max(0, tokens_of(raw) - _FRAME_TOKENS)
        tokens.append(total)
        chain.append(value)
        if head == place and parts.role in ("system", "developer"):
            head += 1
    only = bytes(told[-1].content) if len(each) == head + 1 else b""
    return Weight(tuple(tokens), tuple(chain), images, head, only)


def of_prompt(members: Members, names: Sequence[str]) -> Weight:
    """The weight of a prompt without roles: every text of `names`, one link of the chain in all."""
    value = _seed(members)
    total = 0
    for name in names:
        raw = _bytes(members, name)
        value = hash((value, name, raw))
        total += _token_ids(raw) if raw[:1] == b"[" and b'"' not in raw else tokens_of(raw)
    pictures = members.raw("images")
    images = len(_pieces(pictures, "images")) if pictures is not None else 0
    if pictures is not None:
        value = hash((value, bytes(pictures)))
    total += images * IMAGE_TOKENS
    return Weight((total,), (value,), images)


def _token_ids(raw: bytes) -> int:
    return raw.count(b",") + 1 if len(raw) > 2 else 0


def _bytes(members: Members, name: str) -> bytes:
    raw = members.raw(name)
    return b"" if raw is None else bytes(raw)


def _seed(members: Members) -> int:
    names = sorted(set(members.names()) - NOT_OF_THE_PROMPT)
    return hash(tuple((name, _bytes(members, name)) for name in names))


def _messages(whole: bytes) -> tuple[list[msgspec.Raw], list[_Message]]:
    try:
        return _LISTED.decode(whole), _MESSAGES.decode(whole)
    except msgspec.MsgspecError as error:
        found = _PLACE.search(str(error))
        what = "messages must be a list of messages"
        if found is not None:
            what = f"messages[{found[1]}] must be an object with a role and a content"
        raise BadRequest(what, field="messages") from error


def _pictures(message: _Message, place: int) -> tuple[int, int]:
    """How many pictures (and sounds) a message holds, and their bytes."""
    count = size = 0
    if len(images := memoryview(message.images)) > 2:
        count, size = len(_pieces(message.images, f"messages[{place}].images")), len(images)
    content = memoryview(message.content)
    if bytes(content[:1]) == b"[":
        try:
            parts = _PARTS.decode(content)
        except msgspec.MsgspecError:  # an engine's own kind of parts
            return count, size
        for part in parts:
            held = len(memoryview(part.image_url)) + len(memoryview(part.input_audio))
            count += bool(held)
            size += held
    return count, size


def _pieces(raw: msgspec.Raw, name: str) -> list[msgspec.Raw]:
    if bytes(raw) == b"null":
        return []
    try:
        return _LISTED.decode(raw)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"{name} must be a list", field=name.partition("[")[0]) from error
