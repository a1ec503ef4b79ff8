"""Health, metrics and the live values of the buffers."""

import json
from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from app.core.secrets import public

from .traffic import CONTENT_TYPE

router = APIRouter(tags=["operations"])


@router.get("/health/live", summary="Is the process alive?")
async def live() -> dict[str, str]:
    """Always 200 while the event loop turns; touches no dependency."""
    return {"status": "alive"}


@router.get("/health/ready", summary="Can it serve?")
async def ready(request: Request) -> JSONResponse:
    """Every dependency with its reason; 503 when one that is required cannot be used, or when it leaves."""
    if request.app.state.drain.is_leaving:
        return JSONResponse({"status": "leaving", "dependencies": {}}, status_code=503)
    found = await request.app.state.system.health()
    is_ready = all(item.ready or not item.required for item in found)
    is_whole = all(item.ready for item in found)
    status = ("ready" if is_whole else "degraded") if is_ready else "not ready"
    body = {
        "status": status,
        "dependencies": {
            item.name: {"ready": item.ready, "required": item.required, "detail": public(item.detail)}
            for item in found
        },
    }
    return JSONResponse(body, status_code=200 if is_ready else 503)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
async def metrics(request: Request) -> Response:
    """Requests by route and status, and every flow with its limit and waits."""
    return Response(request.app.state.traffic.render(), media_type=CONTENT_TYPE)


class Indented(JSONResponse):
    """JSON that a person can read without a tool."""

    def render(self, content: object) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2).encode() + b"\n"


@router.get("/buffers", summary="Live values of every adaptive buffer", response_class=Indented)
async def buffers(request: Request, nulls: bool = False) -> Indented:
    """Value, bounds, law and the last reasons, by kind of flow.

    What a kind of flow does not have is left out; with `nulls` it is null, and all have the same fields.
    """
    found: Mapping[str, object] = request.app.state.system.buffers()
    return Indented(found if nulls else _without_nulls(found))


def _without_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list | tuple) else value
