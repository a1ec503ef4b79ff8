"""The pages: static files, no build step, nothing from another address."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.core.settings import Settings

WEB = Path(__file__).parents[1] / "web"


def pages_router(settings: Settings) -> APIRouter:
    """The pages are open, as they hold nothing; what they show they ask for with a key."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    @router.get("/c/{conversation_id}")
    async def index() -> FileResponse:
        """The page a person talks to; it looks itself which conversation its address names."""
        return FileResponse(WEB / "index.html", headers=HEADERS)

    @router.get("/web-settings")
    async def web_settings() -> dict[str, object]:
        """What the page has to know before it asks: bounds, and whether to ask for a key."""
        return {"max_message_chars": settings.max_message_chars, "needs_key": settings.has_keys}

    @router.get("/docs")
    async def docs() -> FileResponse:
        """The page of the API; its scripts come along, by addresses relative to it."""
        return FileResponse(WEB / "docs.html", headers=HEADERS | {"content-security-policy": _DOCS})

    return router


def swagger_files() -> StaticFiles:
    """Return Swagger UI, which a package brings along."""
    return StaticFiles(packages=[("fastapi_swagger", "resources")])


class _Asked(StaticFiles):
    """Files that a browser asks for each time, mostly answered by 304: after an upgrade no script meets the
    old form of another one.
    """

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def static_files() -> StaticFiles:
    """Return the page's scripts and styles."""
    return _Asked(directory=WEB)


# Swagger UI writes styles into its elements and draws its icons from data.
_DOCS = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
