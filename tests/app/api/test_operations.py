"""Health, metrics, keys, request ids and the page."""

import httpx
import pytest
from pydantic import ValidationError

from app.api import create_app
from app.api.errors import QuotaExceeded
from app.api.pages import WEB
from app.api.security import Door
from app.core.ports import DependencyHealth
from app.core.settings import Settings
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio


async def test_liveness_asks_nobody(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "alive"}


@pytest.mark.parametrize(
    ("dependency", "status", "word"),
    [
        (DependencyHealth("redis", False, False, "away"), 200, "degraded"),
        (DependencyHealth("engine", False, True, "dead"), 503, "not ready"),
        (DependencyHealth("engine", True, True, "answers"), 200, "ready"),
    ],
)
async def test_readiness_gives_the_reason(
    client: httpx.AsyncClient, system: ScriptedSystem, dependency: DependencyHealth, status: int, word: str
) -> None:
    system.dependencies.append(dependency)
    answer = await client.get("/health/ready")
    assert answer.status_code == status
    assert answer.json()["status"] == word
    assert answer.json()["dependencies"][dependency.name]["detail"] == dependency.detail


async def test_metrics_count_by_route_template(client: httpx.AsyncClient) -> None:
    await client.post("/chat", json={"user_id": "a", "message": "hi"})
    await client.get("/nowhere")
    text = (await client.get("/metrics")).text
    assert 'sentinel_http_requests_total{method="POST",route="/chat",status="200"} 1.0' in text
    assert 'route="unknown",status="404"' in text


async def test_a_sane_request_id_is_kept_and_another_is_made(client: httpx.AsyncClient) -> None:
    kept = await client.get("/health/live", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    made = await client.get("/health/live", headers={"x-request-id": "a b\x7f"})
    assert len(made.headers["x-request-id"]) == 32


async def test_the_page_and_the_api_page_need_no_other_address(client: httpx.AsyncClient) -> None:
    own = [path for path in WEB.rglob("*.*") if "vendor" not in path.parts and path.suffix != ".svg"]
    assert len(own) > 20
    for path in (
        "/",
        "/c/00000000-0000-0000-0000-000000000000",
        "/docs",
        *(f"/web/{p.relative_to(WEB)}" for p in own),
    ):
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "https://" not in answer.text, path
        assert answer.headers["cache-control"] == "no-cache", path
    for folder in (WEB / "vendor").iterdir():
        assert folder.name == "README.md" or (folder / "LICENSE").exists(), folder
    assert "default-src 'self'" in (await client.get("/")).headers["content-security-policy"]


async def test_examples_of_the_api_page_work(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    for example in schema["components"]["schemas"]["ChatBody"]["examples"]:
        assert (await client.post("/chat", json=example)).status_code == 200


async def test_a_key_is_asked_for_and_compared(system: ScriptedSystem) -> None:
    settings = Settings(host="127.0.0.1", api_keys="first,second")
    ask = {"user_id": "a", "message": "hi"}
    async with served(create_app(system, settings)) as client:
        assert (await client.post("/chat", json=ask)).status_code == 401
        assert (await client.post("/chat", json=ask, headers={"x-api-key": "wrong"})).status_code == 401
        assert (await client.post("/chat", json=ask, headers={"x-api-key": "second"})).status_code == 200
        bearer = {"authorization": "Bearer first"}
        assert (await client.get("/conversations?user_id=a", headers=bearer)).status_code == 200
        assert (await client.get("/health/live")).status_code == 200


def test_a_public_address_without_a_key_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"refuses to listen on 0\.0\.0\.0 without a key"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", api_keys="k").host == "0.0.0.0"


def test_the_quota_refills_evenly() -> None:
    now = 0.0
    door = Door({"k": "t"}, requests_per_minute=2, clock=lambda: now)
    door._take("t")
    door._take("t")
    with pytest.raises(QuotaExceeded) as refused:
        door._take("t")
    assert refused.value.retry_after_s == pytest.approx(30.0)
    now = 30.0
    door._take("t")
    with pytest.raises(QuotaExceeded):
        door._take("t")
