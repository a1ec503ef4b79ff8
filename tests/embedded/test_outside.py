"""Services from outside are asked what they are, and their passwords are never shown."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from embedded.outside import find_engine, find_ollama, without_secret
from embedded.ports import free_port


class Pages(ThreadingHTTPServer):
    pages: dict[str, object]


class Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(page).encode())

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages(("127.0.0.1", 0), Handler) as server:
        server.pages = {}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(pages: Pages) -> str:
    return f"http://127.0.0.1:{pages.server_port}"


def test_an_ollama_names_its_first_model(pages: Pages) -> None:
    pages.pages = {"/api/version": {"version": "0.20.0"}, "/api/tags": {"models": [{"name": "llama3:8b"}]}}
    found = find_engine(url(pages) + "/")
    assert (found.kind, found.model, found.url) == ("ollama", "llama3:8b", url(pages))
    assert found.describe() == f"Ollama at {url(pages)}, model llama3:8b"
    assert find_engine(url(pages), model="mine").model == "mine"
    assert find_ollama(url(pages)) == found


def test_an_ollama_without_a_model_says_so(pages: Pages) -> None:
    pages.pages = {"/api/version": {"version": "0.20.0"}, "/api/tags": {"models": None}}
    found = find_ollama(url(pages))
    assert found is not None
    assert found.model is None
    assert "no model yet" in found.describe()


def test_llama_cpp_is_known_by_its_properties(pages: Pages) -> None:
    pages.pages = {"/props": {"model_alias": "smollm2"}}
    found = find_engine(url(pages))
    assert (found.kind, found.model) == ("llamacpp", "smollm2")
    assert find_ollama(url(pages)) is None


@pytest.mark.parametrize("page", ["text", [1], None])
def test_any_other_answer_is_no_engine(pages: Pages, page: object) -> None:
    pages.pages = {"/api/version": page, "/props": page}
    assert not find_engine(url(pages)).answers


def test_an_engine_that_is_down_is_still_named() -> None:
    found = find_engine(f"http://127.0.0.1:{free_port()}", model="mine")
    assert (found.kind, found.answers) == ("ollama", False)
    assert "does not answer now" in found.describe()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql+asyncpg://a:secret@h:5/d?x=1", "postgresql+asyncpg://a:***@h:5/d?x=1"),
        ("redis://:secret@h:1/0", "redis://:***@h:1/0"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("postgresql://a:s%40t@[::1]:5/d", "postgresql://a:***@[::1]:5/d"),
    ],
)
def test_a_password_is_not_shown(given: str, shown: str) -> None:
    assert without_secret(given) == shown
