"""LLM wire formats: requests and answers of the Ollama and the OpenAI API as bytes. No I/O in here."""

from fluido.gateway.wire._asked import MAX_BODY_BYTES, Asked, parse
from fluido.gateway.wire._bad_request import BadRequest
from fluido.gateway.wire._guard import (
    CHANGED_HEADER,
    KeepAlive,
    Profile,
    conflicts,
    header_of,
    is_same_model,
    wishes,
)
from fluido.gateway.wire._refusal import Reply, refusal
from fluido.gateway.wire._routes import Api, Route, api_of
from fluido.gateway.wire._shape import Ended, StreamShape, reader_of, shape_of
from fluido.gateway.wire._upstream import Translator, Upstream, loaded, to_upstream

__all__ = [
    "CHANGED_HEADER",
    "MAX_BODY_BYTES",
    "Api",
    "Asked",
    "BadRequest",
    "Ended",
    "KeepAlive",
    "Profile",
    "Reply",
    "Route",
    "StreamShape",
    "Translator",
    "Upstream",
    "api_of",
    "conflicts",
    "header_of",
    "is_same_model",
    "loaded",
    "parse",
    "reader_of",
    "refusal",
    "shape_of",
    "to_upstream",
    "wishes",
]
