"""Health, metrics and the live values of the buffers."""

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


@router.get("/buffers", summary="Live values of every adaptive buffer")
async def buffers(request: Request) -> Mapping[str, object]:
    """Value, bounds, law and the last reasons, by kind of flow."""
    found: Mapping[str, object] = request.app.state.system.buffers()
    return found
