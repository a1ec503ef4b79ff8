"""Error classification of an engine's reply: whose fault it is, and whether another engine may be asked."""

import json
from collections.abc import Mapping

from fluido.errors import EngineUnavailable, FluidoError
from fluido.llm._errors import (
    CacheFull,
    CallFailed,
    CallRejected,
    EngineBusy,
    ModelMissing,
    StreamBroken,
)
from fluido.llm.engines import BUSY, BUSY_RETRY_S, NO_KEY, memory_is_full, prompt_too_long, text_of

MOST_RETRY_S = 60.0
# A proxy that says so has nobody behind it.
GATEWAY_STATUS = frozenset({502, 504})
# The model's process died: not this call's doing, and the next one loads the model again.
RUNNER_GONE = ("process has terminated", "no longer running", "connection refused", "connection reset", "EOF")
SHOWN_CHARS = 200


def failure(  # noqa: PLR0911  (a table)
    name: str, model: str, status: int, headers: Mapping[bytes, bytes], body: bytes
) -> FluidoError:
    """The error that a reply of an engine called `name` stands for."""
    reply = _reply(body)
    said = text_of(reply)
    if memory_is_full(said):
        return CacheFull(f"{name}: {said}")
    if too_long := prompt_too_long(reply, status):
        return too_long
    if status == 404 and "model" in said.lower():
        return ModelMissing(said, model=model, status=404, said=said)
    if status in BUSY:
        return EngineBusy(f"{name}: {said or status}", retry_after_s=_retry_s(headers))
    if status in NO_KEY:
        return EngineUnavailable(
            f"{name} answers {status}: it wants a key (the engine's key in the settings)"
        )
    if status < 500:
        why = said or f"it answered {status} without a reason"
        return CallRejected(f"the engine refused the call: {why}", status=status, said=said)
    if any(sign in said for sign in RUNNER_GONE):
        return StreamBroken(f"{name} answers {status}: {said}")
    if status in GATEWAY_STATUS or not said:
        return EngineUnavailable(f"{name} answers {status}: {said[:SHOWN_CHARS]}")
    return CallFailed(f"the engine failed at this call: {said}", status=status, said=said)


def _reply(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _retry_s(headers: Mapping[bytes, bytes]) -> float:
    said = headers.get(b"retry-after", b"")
    return min(MOST_RETRY_S, float(said)) if said.isdigit() else BUSY_RETRY_S
