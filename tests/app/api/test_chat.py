"""POST /chat and /chat/stream: contract, bad input, errors, clients that leave."""

import asyncio
import json
from uuid import uuid4

import httpx
import pytest

from app.api import create_app
from app.api.pace import Pace
from app.core import failures
from app.core.settings import Settings
from fluido import errors
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio

ASK = {"user_id": "ana", "message": "Hi"}


def parsed(body: str) -> list[tuple[str, dict[str, object]]]:
    found = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            found.append((lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))))
    return found


async def test_chat_answers_with_every_field(client: httpx.AsyncClient, system: ScriptedSystem) -> None:
    answer = await client.post("/chat", json=ASK)
    assert answer.status_code == 200
    body = answer.json()
    assert body["answer"] == "Hello there"
    assert body["conversation_id"] == str(system.conversation_id)
    expected = {"kind", "model", "ttft_ms", "total_ms", "cached", "output_tokens"}
    assert expected <= set(body)


async def test_stream_sends_deltas_then_one_done(client: httpx.AsyncClient, system: ScriptedSystem) -> None:
    answer = await client.post("/chat/stream", json=ASK)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-conversation-id"] == str(system.conversation_id)
    assert answer.headers["x-query-kind"] == "short"
    events = parsed(answer.text)
    assert "".join(str(data["text"]) for name, data in events if name == "delta") == "Hello there"
    assert [name for name, _ in events if name != "delta"] == ["done"]
    assert events[-1][1]["answer"] == "Hello there"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"user_id": "ana", "message": ""}, 422, "message"),
        ({"user_id": "ana", "message": " \n\t "}, 422, "blank"),
        ({"user_id": "ana", "message": "a\x00b"}, 422, "NUL"),
        ({"user_id": "ana", "message": "x" * 8_001}, 422, "8001 characters"),
        ({"user_id": "ana"}, 422, "message"),
        ({"message": "hi"}, 422, "user_id"),
        ({"user_id": "", "message": "hi"}, 422, "user_id"),
        ({"user_id": "a" * 129, "message": "hi"}, 422, "user_id"),
        ({"user_id": "a\nb", "message": "hi"}, 422, "user_id"),
        ({"user_id": 7, "message": "hi"}, 422, "user_id"),
        ({"user_id": "ana", "message": ["hi"]}, 422, "message"),
        ({"user_id": "ana", "message": "hi", "conversation_id": "not-an-id"}, 422, "conversation_id"),
        ({"user_id": "ana", "message": "hi", "kind": "poem"}, 422, "kind"),
        ({"user_id": "ana", "message": "hi", "mesage": "typo"}, 422, "mesage"),
        ({"user_id": "ana", "message": "hi", "deadline_s": -1}, 422, "deadline_s"),
        ({"user_id": "ana", "message": "hi", "max_output_tokens": 0}, 422, "max_output_tokens"),
        ([1, 2], 422, ""),
    ],
)
@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_bad_input_is_named(
    client: httpx.AsyncClient, system: ScriptedSystem, *, path: str, body: object, status: int, word: str
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert system.requests == []


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b'{"user_id": "a", "message": "\xff\xfe"}', {}, 400, "not_utf8"),
        (b'{"user_id": "a", ', {}, 400, "bad_json"),
        (b"", {}, 422, "invalid"),
        (json.dumps({"user_id": "a", "message": "x" * 1_000_000}).encode(), {}, 413, "too_large"),
        (b'{"user_id": "a", "message": "hi"}', {"content-type": "text/plain"}, 422, "invalid"),
    ],
)
async def test_bodies_that_cannot_be_read(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await client.post(
        "/chat", content=content, headers={"content-type": "application/json"} | headers
    )
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


async def test_a_body_that_grows_without_saying_so_is_cut(client: httpx.AsyncClient) -> None:
    async def endless() -> object:
        for _ in range(100):
            yield b"x" * 4096

    answer = await client.post("/chat", content=endless(), headers={"content-type": "application/json"})  # type: ignore[arg-type]  # httpx takes any async iterable
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (failures.NotFound("gone"), 404, "not_found"),
        (failures.StillAnswering("wait", retry_after_s=2.5), 409, "still_answering"),
        (failures.KeyReused("new key"), 422, "idempotency_key_reused"),
        (failures.PromptTooLong("long", tokens=9, window=4), 422, "prompt_too_long"),
        (failures.StorageUnavailable("down"), 503, "storage_unavailable"),
        (errors.LimitReached("full", waiting=3, predicted_wait_s=9.0, retry_after_s=7.2), 503, "busy"),
        (errors.EngineUnavailable("dead"), 503, "engine_unavailable"),
        (errors.Closed("closing"), 503, "shutting_down"),
        (RuntimeError("a secret"), 500, "internal"),
    ],
)
@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_a_failure_before_the_answer_has_its_status(
    settings: Settings, path: str, error: Exception, status: int, code: str
) -> None:
    async with served(create_app(ScriptedSystem(before=error), settings)) as client:
        answer = await client.post(path, json=ASK)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status in {409, 503})


async def test_retry_after_is_the_predicted_wait_rounded_up(settings: Settings) -> None:
    busy = errors.LimitReached("full", waiting=3, predicted_wait_s=9.0, retry_after_s=7.2)
    async with served(create_app(ScriptedSystem(before=busy), settings)) as client:
        answer = await client.post("/chat", json=ASK)
    assert answer.headers["retry-after"] == "8"
    assert answer.json()["error"]["detail"] == {"waiting": 3, "predicted_wait_s": 9.0}


async def test_a_failure_in_the_middle_is_one_error_event(settings: Settings) -> None:
    broken = ScriptedSystem(["partial", failures.EngineFailed("broke off")])
    async with served(create_app(broken, settings)) as client:
        answer = await client.post("/chat/stream", json=ASK)
    assert answer.status_code == 200
    assert [name for name, _ in parsed(answer.text)] == ["delta", "error"]
    assert parsed(answer.text)[-1][1]["error"]["code"] == "engine_failed"  # type: ignore[index]


@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_a_client_that_leaves_stops_the_generation(settings: Settings, path: str) -> None:
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    system = ScriptedSystem(["first", forever])
    async with served(create_app(system, settings)) as client:
        asking = asyncio.create_task(client.post(path, json=ASK))
        await started.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await system.closed_early.wait()


async def test_silence_is_filled_with_comments(settings: Settings) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.08)

    app = create_app(ScriptedSystem([pause, "late"]), settings, Pace(heartbeat_s=0.02))
    async with served(app) as client:
        answer = await client.post("/chat/stream", json=ASK)
    assert answer.text.count(": waiting") >= 2
    assert [name for name, _ in parsed(answer.text)] == ["delta", "done"]


async def test_a_client_that_stops_reading_is_cut_off(settings: Settings) -> None:
    system = ScriptedSystem(["x" * 65_536] * 400)
    app = create_app(system, settings, Pace(slow_client_s=0.2))
    async with served(app) as client:
        url = client.base_url
        _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        body = json.dumps(ASK).encode()
        writer.write(
            b"POST /chat/stream HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            + f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        async with asyncio.timeout(10):
            await system.closed_early.wait()
        writer.close()
    assert app.state.pace.too_slow == 1


async def test_the_key_of_idempotency_reaches_the_assistant(
    client: httpx.AsyncClient, system: ScriptedSystem
) -> None:
    await client.post("/chat", json=ASK, headers={"Idempotency-Key": "k-1"})
    assert system.requests[0].idempotency_key == "k-1"
    answer = await client.post("/chat", json=ASK, headers={"Idempotency-Key": "k" * 200})
    assert answer.status_code == 422


async def test_conversations(client: httpx.AsyncClient, system: ScriptedSystem) -> None:
    whose = {"user_id": "ana"}
    mine = await client.get(f"/conversations/{system.conversation_id}", params=whose)
    assert mine.json()["title"] == "Hello"
    assert (await client.get(f"/conversations/{uuid4()}", params=whose)).status_code == 404
    assert (await client.get("/conversations/nonsense", params=whose)).status_code == 422
    assert (await client.get("/conversations")).status_code == 422
    assert (await client.get("/conversations", params=whose)).json() == []
    assert (await client.get(f"/conversations/{system.conversation_id}")).status_code == 422
    assert (await client.delete(f"/conversations/{system.conversation_id}")).status_code == 422
    gone = await client.delete(f"/conversations/{system.conversation_id}", params=whose)
    assert gone.status_code == 204
