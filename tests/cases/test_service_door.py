"""Who may ask, by which name, and what is told (service.md 1, 6, 15 and the small ones)."""

import logging

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.api import create_app
from app.api.security import WRONG_PER_MINUTE
from app.core.incidents import Incident, Incidents
from app.core.logs import configure
from app.core.ports import DependencyHealth
from app.core.secrets import public, scrubbed
from app.core.settings import Settings
from fluido.errors import EngineUnavailable
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio

ASK = {"user_id": "ana", "message": "hi"}


@pytest.fixture
async def client() -> httpx.AsyncClient:  # type: ignore[misc]  # a generator, as pytest wants it
    async with served(create_app(ScriptedSystem(), Settings())) as client:
        yield client  # type: ignore[misc]


async def test_a_client_invents_no_label(client: httpx.AsyncClient) -> None:
    await client.request("FIRST", "/nope/0")
    await client.get("/metrics")
    before = len((await client.get("/metrics")).text)
    for number in range(50):
        await client.request(f"M{number:06}{'X' * 500}", f"/nope/{number}")
    text = (await client.get("/metrics")).text
    assert 'method="other"' in text
    assert "XXX" not in text
    assert len(text) < before + 2_000


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "EVIL.example:80", "a.b."])
async def test_a_foreign_name_is_not_ours(client: httpx.AsyncClient, host: str) -> None:
    for path in ("/", "/docs", "/health/ready"):
        answer = await client.get(path, headers={"host": host})
        assert answer.status_code == 421
    answer = await client.post("/chat", json=ASK, headers={"host": host})
    assert answer.status_code == 421
    assert "SENTINEL_ALLOWED_HOSTS" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "sentinel", "x.localhost", "10.0.0.9"]
)
async def test_our_names_are_ours(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.post("/chat", json=ASK, headers={"host": host})).status_code == 200


async def test_a_name_may_be_listed_and_a_key_needs_no_name() -> None:
    for settings in (Settings(allowed_hosts="chat.example.org"), Settings(api_keys="k")):
        async with served(create_app(ScriptedSystem(), settings)) as client:
            headers = {"host": "chat.example.org", "x-api-key": "k"}
            assert (await client.post("/chat", json=ASK, headers=headers)).status_code == 200


async def test_nothing_stands_in_a_frame_and_the_docs_load_their_own(client: httpx.AsyncClient) -> None:
    for path in ("/", "/panel", "/docs", "/web/chat.js", "/health/live", "/nowhere"):
        answer = await client.get(path)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = (await client.get("/docs", headers={"host": "sentinel"})).text
    assert "sentinel" not in page
    assert "<script>" not in page
    for path in ("/swagger/swagger-ui-bundle.js", "/swagger/swagger-ui.css", "/web/docs.js", "/openapi.json"):
        assert (await client.get(path)).status_code == 200, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://evil.example"}, 403),
    ],
)
async def test_a_foreign_page_takes_no_place_of_the_panel(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    for _ in range(20):
        assert (await client.get("/panel/events", headers=headers)).status_code == status
    async with client.stream("GET", "/panel/events", headers={"sec-fetch-site": "same-origin"}) as own:
        assert own.status_code == 200
    async with client.stream("GET", "/panel/events") as program:
        assert program.status_code == 200


@pytest.mark.parametrize(
    "authorization", ["Bearer schlüssel", "bearer schlüssel", "BEARER  schlüssel", "schlüssel"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_a_key_is_taken_as_clients_send_it(authorization: str, encoding: str) -> None:
    async with served(create_app(ScriptedSystem(), Settings(api_keys="schlüssel"))) as client:
        headers = {b"authorization": authorization.encode(encoding)}
        assert (await client.post("/chat", json=ASK, headers=headers)).status_code == 200


async def test_guesses_are_braked_and_a_right_key_is_not() -> None:
    async with served(create_app(ScriptedSystem(), Settings(api_keys="k"))) as client:
        statuses = []
        for number in range(int(WRONG_PER_MINUTE) + 10):
            wrong = await client.post("/chat", json=ASK, headers={"x-api-key": f"wrong{number}"})
            statuses.append(wrong.status_code)
        assert statuses[0] == 401
        assert statuses[-1] == 429
        assert int(wrong.headers["retry-after"]) >= 1
        assert (await client.post("/chat", json=ASK, headers={"x-api-key": "k"})).status_code == 200


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_a_wrong_content_type_is_named(client: httpx.AsyncClient, kind: str) -> None:
    body = b'{"user_id": "ana", "message": "hi"}'
    answer = await client.post("/chat", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 422
    assert "content-type: application/json" in answer.json()["error"]["message"]


async def test_the_description_says_what_is_there(client: httpx.AsyncClient) -> None:
    refused = await client.put("/conversations/00000000-0000-0000-0000-000000000000?user_id=a")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "DELETE, GET, PATCH"
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert list(paths["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")


async def test_no_secret_and_no_address_is_told() -> None:
    secret = "http://me:s3cretpw@10.1.2.3:9"
    system = ScriptedSystem(before=EngineUnavailable(f"{secret} does not answer: Cannot connect"))
    system.dependencies.append(DependencyHealth("engine", False, True, f"{secret} is down: 10.1.2.3:9"))
    async with served(create_app(system, Settings())) as client:
        told = [await client.post("/chat", json=ASK), await client.post("/chat/stream", json=ASK)]
        told.append(await client.get("/health/ready"))
    for answer in told:
        assert answer.status_code == 503
        assert "s3cretpw" not in answer.text
        assert "10.1.2.3" not in answer.text


_USER = st.text(
    st.characters(codec="ascii", exclude_categories=("C", "Z"), exclude_characters="/?#\"'<>"), min_size=4
)


@given(_USER, _USER)
def test_no_userinfo_survives(user: str, password: str) -> None:
    text = scrubbed(f"cannot reach postgresql+asyncpg://{user}:{password}@db:5432/x, sorry")
    assert text == "cannot reach postgresql+asyncpg://db:5432/x, sorry"
    assert "db" not in public(text)


def test_the_log_of_libraries_and_ours_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers.clear()
    try:
        configure("INFO")
        structlog.get_logger("t").warning("away", reason="redis://:s3cretpw@h:1 is away")
        logging.getLogger("lib").warning("cannot reach %s", "http://me:s3cretpw@h")
    finally:
        structlog.reset_defaults()
        root.handlers[:] = before
    said = capsys.readouterr().err
    assert "s3cretpw" not in said
    assert "http://h" in said


def test_a_flood_of_incidents_is_a_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    notes = Incidents(lines=3, period_s=10.0, clock=lambda: now_s)
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            notes.note(Incident.SERVER_ERROR, code="busy")
        now_s = 11.0
        notes.note(Incident.SERVER_ERROR, code="busy")
    assert len(lines) == 4
    assert lines[-1]["left_out"] == 97
    assert notes.counts[Incident.SERVER_ERROR] == 101


@pytest.mark.parametrize("level", ["loud", "", "WARN!"])
def test_a_wrong_log_level_is_a_sentence(level: str) -> None:
    with pytest.raises(ValueError, match="SENTINEL_LOG_LEVEL must be one of"):
        Settings(log_level=level)
