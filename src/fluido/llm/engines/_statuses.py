"""HTTP statuses of a refusal that say the same whatever server sends them: busy, locked, gone, given up."""

from fluido.errors import EngineUnavailable
from fluido.llm._errors import CallFailed, CallRejected, EngineBusy, StreamBroken

NO_KEY = frozenset({401, 403, 407})
BUSY = frozenset({429, 503})
BUSY_RETRY_S = 1.0
FORBIDDEN = 403
# A proxy that says so has nobody behind it.
BAD_GATEWAY = 502
# A proxy in front of the engine waited for the first token and gave up (Cloudflare says 524). The engine
# works on: that call was too long for the proxy's patience, and nobody else's is.
GAVE_UP = frozenset({408, 504, 524})


def locked(name: str, status: int, path: str) -> EngineUnavailable:
    """What is said of a server that lets nobody in."""
    return EngineUnavailable(
        f"{name} answers {status} to {path}: it wants a key (api_key=) or a header (headers=)"
    )


def refused_by_status(
    name: str, path: str, status: int, said: str, *, is_proven: bool, retry_after_s: float | None
) -> Exception:
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
        return locked(name, status, path)
    if status < 500:
        why = said or f"it answered {status} without a reason"
        return CallRejected(f"the engine refused the call: {why}", status=status, said=said)
    if status == BAD_GATEWAY or not said:
        return EngineUnavailable(f"{name} answers {status}: {said[:100]}")
    return CallFailed(f"the engine failed at this call: {said}", status=status, said=said)
