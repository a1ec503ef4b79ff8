"""Puts a gateway between ollama-python's client tests and their fake server (pytest-httpserver).

The fake server answers what the gateway asks for itself (version, tags, ps, show) where a test expects no
such request; where one does, the gateway gets what the test wrote. `GATEWAY_PYTHON` runs the gateway.
"""

import json
import os
import subprocess
import time
import urllib.request
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug.wrappers import Request, Response

MODELS = ("dummy", "dummy-image", "gpt-oss:20b", "qwen3.8:27b")
OWN = {
    "/api/version": b'{"version": "0.20.0"}',
    "/api/tags": json.dumps({"models": [{"name": name} for name in MODELS]}).encode(),
    # all are loaded: the gateway would load one that is not, by a call that no test expects
    "/api/ps": json.dumps({"models": [{"name": n, "context_length": 4096} for n in MODELS]}).encode(),
    "/api/show": b'{"capabilities": ["completion"], "model_info": {}}',
}
CACHED_S = 1.2
START_S = 60.0
_url_for, _dispatch = HTTPServer.url_for, HTTPServer.dispatch
_gateways: dict[int, tuple[subprocess.Popen[bytes], str]] = {}


def url_for(server: HTTPServer, suffix: str) -> str:
    """The gateway's address. What it has in its cache is older than this test: it is waited for."""
    handlers = server.ordered_handlers
    if any(handler.matcher.uri in OWN for handler in handlers):
        time.sleep(CACHED_S)
    # the tests of delete and copy give the whole address where a client takes its beginning
    return _gateway(server) + ("/" if suffix.startswith("/api/") else suffix)


def _gateway(server: HTTPServer) -> str:
    if server.port not in _gateways:
        port = server.port + 1 if server.port < 65000 else server.port - 1
        command = [os.environ["GATEWAY_PYTHON"], "-m", "fluido", "gateway", "--port", str(port), "--manage"]
        command += ["--engine", f"http://127.0.0.1:{server.port},api=ollama", "--wishes", "passthrough"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        until_s = time.monotonic() + START_S
        while time.monotonic() < until_s:
            try:
                with urllib.request.urlopen(url, timeout=5) as reply:
                    if reply.status == 200:
                        break
            except OSError:
                time.sleep(0.1)
        _gateways[server.port] = process, url
    return _gateways[server.port][1]


def dispatch(server: HTTPServer, request: Request) -> Response:
    """As it does, but what the gateway asks for itself uses up no expectation and is no surprise."""
    own = OWN.get(request.path)
    if own is None:
        return _dispatch(server, request)
    handlers = server.ordered_handlers
    for handler in handlers:
        if handler.matcher.uri == request.path:
            return handler.respond(request)
    return Response(own, content_type="application/json")


def pytest_configure(config: Any) -> None:
    """Take the fake server's place."""
    HTTPServer.url_for, HTTPServer.dispatch = url_for, dispatch


def pytest_unconfigure(config: Any) -> None:
    """End what was started."""
    for process, _ in _gateways.values():
        process.kill()
        process.wait()
