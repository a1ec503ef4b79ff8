"""What an operator reads: /buffers as people can read it, and the API's page with a place for keys."""

import json

import pytest

from app.api import create_app
from app.core.adaptive_buffers import AdaptiveBufferManager, DataFlowType
from app.core.settings import Settings
from fluido import Fixed, Limiter
from tests.app.scripted import ScriptedSystem
from tests.app.serving import served

pytestmark = pytest.mark.anyio
KEYED = Settings(api_keys=("k",))  # type: ignore[arg-type]


class WithFlow(ScriptedSystem):
    """The real manager in front of one real flow."""

    def __init__(self) -> None:
        super().__init__()
        self.manager = AdaptiveBufferManager()
        self.flow = Limiter(Fixed(3), name="db", max_waiting=1)
        self.manager.attach(DataFlowType.DATABASE_QUERY, lambda: [self.flow])

    def buffers(self) -> dict[str, object]:
        return self.manager.get_buffer_stats()


async def test_buffers_are_indented_and_leave_out_what_a_flow_does_not_have() -> None:
    async with served(create_app(WithFlow(), Settings())) as client:
        text = (await client.get("/buffers")).text
        whole = (await client.get("/buffers?nulls=true")).json()
    assert "null" not in text
    assert text.count("\n") > 50
    shown = json.loads(text)
    assert set(shown) == {kind.value for kind in DataFlowType}
    assert shown["database_query"]["policy"]["pool_max_size"] == 50
    assert "read_buffer_size" not in shown["database_query"]["policy"]
    assert shown["database_query"]["flows"][0]["value"] == 3
    # the customer's fields are all there for whom wants them
    assert "read_buffer_size" in whole["database_query"]["policy"]
    assert whole["database_query"]["policy"]["read_buffer_size"] is None
    assert len({frozenset(kind["policy"]) for kind in whole.values()}) == 1


async def test_the_page_of_the_api_takes_a_key_where_one_is_asked_for() -> None:
    schema = create_app(ScriptedSystem(), KEYED).openapi()
    schemes = schema["components"]["securitySchemes"]
    assert schemes["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert schemes["bearer"]["scheme"] == "bearer"
    # either of them
    assert schema["paths"]["/chat"]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert "security" not in schema["paths"]["/health/live"]["get"]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            is_open = path.startswith(("/health", "/metrics", "/buffers"))
            assert ("security" in operation) is not is_open, (method, path)


async def test_the_key_that_the_page_sends_opens_the_door() -> None:
    async with served(create_app(ScriptedSystem(), KEYED)) as client:
        for headers in ({"X-API-Key": "k"}, {"Authorization": "Bearer k"}):
            answer = await client.get("/conversations?user_id=ana", headers=headers)
            assert answer.status_code == 200
        assert (await client.get("/conversations?user_id=ana")).status_code == 401


async def test_without_keys_no_padlock_is_shown() -> None:
    schema = create_app(ScriptedSystem(), Settings()).openapi()
    assert "securitySchemes" not in schema["components"]
