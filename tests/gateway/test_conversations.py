"""What each client of the guide asks, replayed: it gets what it reads, from an Ollama and from llama.cpp.

The conversations are recorded (`record.py`) or as read in the client's source; docs/gateway/ has their pages.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import embedded
from fluido.gateway._seen import Request
from tests.gateway.conftest import Door, opened

FOLDER = Path(__file__).with_name("conversations")
CLIENTS = sorted(path.stem for path in FOLDER.glob("*.json"))
PAGES = Path(__file__).parents[2] / "docs" / "gateway"
MODEL = "smollm2:135m"
pytestmark = pytest.mark.anyio


def asked(client: str) -> list[dict[str, Any]]:
    conversation: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / f"{client}.json").read_text())
    return conversation["requests"]


def test_each_client_of_the_guide_has_a_conversation() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(CLIENTS)


async def replay(door: Door, requests: list[dict[str, Any]]) -> list[Request]:
    """Ask everything in order; every reply is read as that client reads it."""
    for request in requests:
        data = json.dumps(request["body"]).encode() if request["body"] is not None else None
        async with door.session.request(
            request["method"], door.url + request["path"], data=data, headers=request["headers"]
        ) as reply:
            said = await reply.read()
            assert reply.status == 200, (request["path"], said)
            read(request, reply, said)
    return list(door.gateway.seen.kept)


def read(request: dict[str, Any], reply: aiohttp.ClientResponse, said: bytes) -> None:
    """As the clients' code does; what would raise there fails here."""
    path, body = request["path"], request["body"] or {}
    if path == "/":
        assert said == b"Ollama is running"
    elif path == "/api/version":
        assert [int(part) for part in json.loads(said)["version"].split(".")]  # Copilot reads it as numbers
    elif path == "/api/tags":
        models = json.loads(said)["models"]
        assert MODEL in {each["name"] for each in models}
        assert all(each["name"] == each["model"] for each in models)
    elif path == "/api/ps":
        for each in json.loads(said)["models"]:
            datetime.fromisoformat(each["expires_at"])  # Open WebUI
    elif path == "/api/show":
        shown = json.loads(said)
        assert isinstance(shown["model_info"], dict)  # null crashes Copilot
        assert isinstance(shown["capabilities"], list)
        for line in (shown.get("parameters") or "").splitlines():
            assert len(line.split(None, 1)) == 2, line  # a line that is no pair throws in Continue
    elif path == "/v1/models":
        assert MODEL in {each["id"] for each in json.loads(said)["data"]}
    elif path == "/api/embed":
        assert json.loads(said)["embeddings"]
    elif path.startswith("/v1/"):
        read_v1(body, said)
    elif body.get("stream") is False:
        assert json.loads(said)["done"] is True
    else:
        assert reply.content_type == "application/x-ndjson"
        lines = said.decode().splitlines()
        parts = [json.loads(line) for line in lines]  # an empty line raises in ollama-python
        assert [part["done"] for part in parts] == [*([False] * (len(parts) - 1)), True]
        assert parts[-1]["done_reason"] in {"stop", "length"}
        texts = [part["message"]["content"] if "message" in part else part["response"] for part in parts]
        assert "".join(texts)


def read_v1(body: dict[str, Any], said: bytes) -> None:
    if not body.get("stream"):
        (choice,) = json.loads(said)["choices"]
        assert choice["message"]["content"]
        assert choice["finish_reason"] in {"stop", "length"}
        return
    events = [
        line.removeprefix("data: ") for line in said.decode().split("\n\n") if line.startswith("data: ")
    ]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert len({chunk["id"] for chunk in chunks}) == 1
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts)
    wants = (body.get("stream_options") or {}).get("include_usage")
    assert (chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0) if wants else True


async def is_answered(door: Door, client: str) -> None:
    # embeddings need a server that was started for them
    requests = [each for each in asked(client) if each["path"] != "/api/embed"]
    seen = await replay(door, [bounded(request) for request in requests])
    assert {request.outcome for request in seen} == {"answered"}


@pytest.mark.servers
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_gets_what_it_reads_from_the_real_llamacpp(
    client: str, synthetic_engine: embedded.Engine
) -> None:
    async with opened(synthetic_engine.url, aliases={MODEL: synthetic_engine.model.name}) as door:
        await is_answered(door, client)


@pytest.mark.servers
@pytest.mark.ollama
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_gets_what_it_reads_from_the_real_ollama_and_reloads_nothing(
    client: str, ollama_engine: embedded.Ollama
) -> None:
    async with opened(ollama_engine.url, aliases={MODEL: ollama_engine.model.name}) as door:
        await is_answered(door, client)
        (engine,) = door.gateway.directory.engines
        await door.gateway.directory.look(engine)
        # whatever window it asked for, the model keeps that of its Modelfile
        assert engine.resident == {ollama_engine.model.name: ollama_engine.options.slot_tokens}


def bounded(request: dict[str, Any]) -> dict[str, Any]:
    """The same with a short answer: random weights come to no end."""
    body = request["body"]
    if body is None or "model" not in body or request["path"] == "/api/show":
        return request
    if request["path"].startswith("/v1/"):
        return {**request, "body": {**body, "max_tokens": 3}}
    options = {**body.get("options", {}), "num_predict": 3}
    # the test's model has no template for tools, which Ollama refuses
    return {**request, "body": {**body, "options": options, **({"tools": []} if "tools" in body else {})}}
