"""The chat page: static files, no build step, nothing from another address."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parents[1] / "web"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> FileResponse:
    """The page a person talks to."""
    return FileResponse(WEB / "index.html", headers=HEADERS)


def static_files() -> StaticFiles:
    """Return the page's scripts and styles."""
    return StaticFiles(directory=WEB)


HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
