"""Error classification of an engine's reply: whose fault it is, and whether another engine may be asked."""

from collections.abc import Mapping

from fluido.errors import FluidoError
from fluido.llm._errors import CacheFull, ModelMissing, StreamBroken
from fluido.llm.engines import (
    error_in,
    memory_is_full,
    names_no_model,
    prompt_too_long,
    refused_by_status,
    retry_after_s,
    runner_is_gone,
    text_of,
)

KEY_MEND = "a key: `key` of this engine in the settings, or --engine URL,key=KEY"


def failure(
    name: str,
    model: str,
    status: int,
    headers: Mapping[bytes, bytes],
    body: bytes,
    *,
    path: str,
    is_proven: bool = True,
) -> FluidoError:
    """The error that a reply of an engine called `name` to `path` stands for.

    `is_proven`: it has let us in before.
    """
    reply = error_in(body)
    said = text_of(reply)
    if memory_is_full(said):
        return CacheFull(f"{name}: {said}")
    if too_long := prompt_too_long(reply, status):
        return too_long
    if (status == 404 and "model" in said.lower()) or (status == 400 and names_no_model(said)):
        return ModelMissing(said, model=model, status=status, said=said)
    if runner_is_gone(status, said):
        return StreamBroken(f"{name} answers {status}: {said}")
    return refused_by_status(
        name,
        path,
        status,
        said,
        is_proven=is_proven,
        retry_after_s=retry_after_s(headers.get(b"retry-after", b"").decode("latin-1")),
        mend=KEY_MEND,
    )
