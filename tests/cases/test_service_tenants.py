"""A key is a tenant: it sees, continues and deletes its own conversations only (service.md 5)."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from pydantic import ValidationError

from app.core.ports import Owner
from app.core.settings import Settings
from app.db import migrate as migrations
from app.db.conversations import ConversationStore
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.upkeep import Upkeep
from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

ASK = {"user_id": "ana", "message": "hi"}
ANA = {"user_id": "ana"}


async def holds(what: bool) -> bool:
    return what


async def test_keys_do_not_see_each_others_conversations(postgres_url: str, redis_url: str) -> None:
    two = {"api_keys": "one", "tenant_keys": "acme:first,acme:second"}
    async with (
        serving(ScriptedEngine()) as url,
        running(postgres_url, redis_url, url, **two) as found,
    ):
        client = found.client
        mine, theirs = {"x-api-key": "one"}, {"x-api-key": "first"}
        asked = await client.post("/chat", json=ASK, headers=mine | {"Idempotency-Key": "k"})
        conversation = asked.json()["conversation_id"]
        place = f"/conversations/{conversation}"
        for answer in (
            await client.get(place, params=ANA, headers=theirs),
            await client.delete(place, params=ANA, headers=theirs),
            await client.post("/chat", json=ASK | {"conversation_id": conversation}, headers=theirs),
            await client.post("/chat/stream", json=ASK | {"conversation_id": conversation}, headers=theirs),
        ):
            assert answer.status_code == 404
        assert (await client.get("/conversations", params=ANA, headers=theirs)).json() == []
        # The same user name and the same idempotency key of another tenant are another request.
        other = await client.post("/chat", json=ASK, headers=theirs | {"Idempotency-Key": "k"})
        assert other.json()["conversation_id"] != conversation
        # Two keys of one name are one tenant: a key can be replaced.
        place = f"/conversations/{other.json()['conversation_id']}"
        assert (await client.get(place, params=ANA, headers={"x-api-key": "second"})).status_code == 200
        assert (await client.get(f"/conversations/{conversation}", headers=mine)).status_code == 422
        assert (await client.delete(f"/conversations/{conversation}", headers=mine)).status_code == 422
        gone = await client.delete(f"/conversations/{conversation}", params=ANA, headers=mine)
        assert gone.status_code == 204


async def test_a_turn_of_another_tenant_is_not_waited_for(postgres_url: str) -> None:
    engine = ScriptedEngine()
    keys = {"tenant_keys": "a:one,b:two"}
    async with serving(engine) as url, running(postgres_url, None, url, **keys) as found:
        first = await found.chat("one", headers={"x-api-key": "one"})
        body = ASK | {"conversation_id": first.json()["conversation_id"]}
        engine.go.clear()
        asked = asyncio.create_task(found.client.post("/chat", json=body, headers={"x-api-key": "one"}))
        await eventually(lambda: holds(engine.inflight == 1), within_s=20)
        foreign = await found.client.post("/chat", json=body, headers={"x-api-key": "two"})
        assert foreign.status_code == 404
        assert not asked.done()
        engine.go.set()
        assert (await asked).status_code == 200


async def test_the_only_key_inherits_what_was_stored_before_there_were_keys(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url:
        async with running(postgres_url, None, url) as keyless:
            old = (await keyless.chat("one", headers={"Idempotency-Key": "k"})).json()
        place = f"/conversations/{old['conversation_id']}"
        async with running(postgres_url, None, url, api_keys="k") as one:
            key = {"x-api-key": "k"}
            assert (await one.client.get(place, params=ANA, headers=key)).status_code == 200
            again = await one.chat("one", headers=key | {"Idempotency-Key": "k"})
            assert (again.json()["answer"], again.json()["cached"]) == (old["answer"], True)
            told = await one.chat("two", headers=key, conversation_id=old["conversation_id"])
            assert told.status_code == 200
        async with running(postgres_url, None, url, tenant_keys="a:k,b:l") as many:
            for key in ("k", "l"):
                seen = await many.client.get(place, params=ANA, headers={"x-api-key": key})
                assert seen.status_code == 404
            assert await Upkeep(many.db.engine).ownerless() == 1
            assert await Upkeep(many.db.engine).adopt("a", "nobody") == 0
            assert await Upkeep(many.db.engine).adopt("a") == 1
            seen = await many.client.get(place, params=ANA, headers={"x-api-key": "k"})
            assert len(seen.json()["messages"]) == 4


async def test_a_tenant_with_many_names_does_not_keep_another_waiting(postgres_url: str) -> None:
    engine = ScriptedEngine(pieces=("x",), pause_s=0.01)
    # The engine tells no slots and takes all that come: only a bound of our own makes them wait with us.
    keys = {"tenant_keys": "many:one,few:two", "engine_slots": 1}
    async with serving(engine) as url, running(postgres_url, None, url, **keys) as found:
        await found.chat("warm", headers={"x-api-key": "one"})
        engine.go.clear()
        order: list[str] = []

        async def ask(name: str, key: str) -> None:
            await found.chat("hi", user_id=name, headers={"x-api-key": key})
            order.append(key)

        (station,) = found.sentinel.dispatcher.stations
        crowd = [asyncio.create_task(ask(f"name{n}", "one")) for n in range(40)]
        await eventually(lambda: holds(len(station.queue) + station.inflight == 40), within_s=20)
        quiet = [asyncio.create_task(ask("ana", "two")) for _ in range(3)]
        await eventually(lambda: holds(len(station.queue) + station.inflight == 43), within_s=20)
        engine.go.set()
        await asyncio.gather(*crowd, *quiet)
        assert max(place for place, key in enumerate(order) if key == "two") < 20


@pytest.mark.parametrize("given", ["nameless", ":key", "a b:key", "name:"])
def test_a_key_without_a_name_is_named(given: str) -> None:
    with pytest.raises(ValidationError, match="name:key"):
        Settings(tenant_keys=given)


def test_a_tenant_is_not_its_key() -> None:
    keys = Settings(api_keys="s3cret", tenant_keys="acme:other").keys()
    assert keys["other"] == "acme"
    assert "s3cret" not in keys["s3cret"]


# -- the migration --


def _move(connection: sa.Connection, *, up: bool, revision: str) -> None:
    config = Config()
    place = migrations.Path(migrations.__file__).parent / "migrations"
    config.set_main_option("script_location", str(place))
    config.attributes["connection"] = connection
    (command.upgrade if up else command.downgrade)(config, revision)


async def _moved(db: DynamicPostgreSQLSession, *, up: bool, revision: str) -> None:
    async with db.engine.connect() as connection:
        await connection.run_sync(_move, up=up, revision=revision)
        await connection.commit()


async def test_old_rows_survive_the_way_up_and_down(postgres_url: str) -> None:
    db = DynamicPostgreSQLSession(postgres_url)
    try:
        await _moved(db, up=True, revision="0002")
        old = uuid4()
        async with db.engine.begin() as connection:
            await connection.execute(
                sa.text("INSERT INTO conversations (id, user_id, title) VALUES (:id, 'ana', 'old')"),
                {"id": old},
            )
            await connection.execute(_OLD_REQUEST, {"id": old})
        await _moved(db, up=True, revision="head")
        store = ConversationStore(db.engine)
        assert [row.id for row in await store.of_user(Owner("ana"), 10)] == [old]
        assert [row.id for row in await store.of_user(Owner("ana", "t", is_heir=True), 10)] == [old]
        assert await store.of_user(Owner("ana", "t"), 10) == []
        await _tenants_row(db, old)
        await store.close()
        await _moved(db, up=False, revision="0002")
        async with db.engine.connect() as connection:
            left = (await connection.execute(sa.text("SELECT user_id, idempotency_key FROM requests"))).all()
            assert [tuple(row) for row in left] == [("ana", "k")]
            count = await connection.scalar(sa.text("SELECT count(*) FROM conversations"))
            assert count == 1
        await _moved(db, up=True, revision="head")
    finally:
        await db.close()


_OLD_REQUEST = sa.text(
    "INSERT INTO requests "
    "(user_id, idempotency_key, fingerprint, conversation_id, message_id, answering_until) "
    "VALUES ('ana', 'k', '', :id, 1, now())"
)


async def _tenants_row(db: DynamicPostgreSQLSession, home: UUID) -> None:
    async with db.engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO requests (tenant, user_id, idempotency_key, fingerprint, conversation_id, "
                "message_id, answering_until) VALUES ('t', 'ana', 'k', '', :id, 2, now())"
            ),
            {"id": home},
        )


async def test_lists_have_pages(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        made = [(await found.chat(f"m{n}")).json()["conversation_id"] for n in range(5)]
        seen: list[str] = []
        params: dict[str, str] = {"user_id": "ana", "limit": "2"}
        for _ in range(3):
            page = await found.client.get("/conversations", params=params)
            seen += [row["id"] for row in page.json()]
            params["cursor"] = page.headers.get("x-next-cursor", "")
        assert seen == made[::-1]
        assert params["cursor"] == ""
        await found.chat("more", conversation_id=made[0])
        place = f"/conversations/{made[0]}"
        last = await found.client.get(place, params={"user_id": "ana", "limit": "3"})
        assert [row["content"] for row in last.json()["messages"]][1] == "more"
        before = {"user_id": "ana", "limit": "3", "cursor": last.headers["x-next-cursor"]}
        first: httpx.Response = await found.client.get(place, params=before)
        assert [row["content"] for row in first.json()["messages"]] == ["m0"]
        for wrong in ("nonsense", "!!", "x" * 201, "AAAA"):
            refused = await found.client.get("/conversations", params={"user_id": "ana", "cursor": wrong})
            assert refused.status_code == 422
