"""PostgreSQL's troubles are told as what they are, and what passes is waited for (service.md 10)."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.core.failures import StorageUnavailable
from app.core.incidents import Incident, incidents
from app.db import failures
from app.db.failures import TROUBLES, storage
from app.db.retention import Retention
from app.services.patience import patiently
from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import Running, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

# A trigger raises what a server in trouble says; `times` of them pass by.
_TROUBLE = """
CREATE SEQUENCE tries;
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') <= {times} THEN
        RAISE EXCEPTION 'the server''s own words about {state}' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trouble BEFORE INSERT ON messages FOR EACH STATEMENT EXECUTE FUNCTION trouble();
"""


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    failures.memory.clear()


async def run(found: Running, statements: str) -> None:
    """Each of them, as an administrator would."""
    async with found.db.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(statements)


@pytest.mark.parametrize(
    ("state", "code"),
    [("53100", "storage_full"), ("42501", "storage_misconfigured"), ("58030", "storage_broken")],
)
async def test_what_needs_a_person_is_told_at_once_and_by_readiness(
    postgres_url: str, state: str, code: str
) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        await run(found, _TROUBLE.format(state=state, times=10**6))
        refused = await found.chat("a secret of the user's")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, code)
        ready = await found.client.get("/health/ready")
        # The probe of readiness finds room: the trouble is over as far as it can see.
        assert ready.status_code == 200
        assert failures.memory.recall() is None
        with pytest.raises(StorageUnavailable) as told, storage():
            raise sa.exc.OperationalError("INSERT", {"content": "a secret of the user's"}, _state(state))
        assert "secret" not in told.value.said
        assert failures.memory.recall() is not None


def _state(state: str) -> Exception:
    error = RuntimeError("no space left")
    error.sqlstate = state  # type: ignore[attr-defined]
    return error


async def test_what_passes_is_waited_for(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        for state in ("40001", "40P01", "55P03", "57014", "57P01", "53300", "25006"):
            for key in (None, state):
                await run(found, _TROUBLE.format(state=state, times=2))
                headers = {"Idempotency-Key": key} if key else {}
                answer = await found.chat("one", headers=headers, deadline_s=20)
                assert answer.status_code == 200, state
                place = f"/conversations/{answer.json()['conversation_id']}?user_id=ana"
                messages = (await found.client.get(place)).json()["messages"]
                assert [message["content"] for message in messages] == ["one", "Hello there"]
                await run(found, "DROP SEQUENCE tries; DROP FUNCTION trouble CASCADE")


async def test_it_is_waited_for_until_the_deadline_and_not_longer(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        await run(found, _TROUBLE.format(state="40001", times=10**6))
        refused = await found.chat("one", deadline_s=1.5)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "storage_slow"


async def test_a_missing_table_is_a_sentence_and_not_ready(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        await run(found, "DROP TABLE messages CASCADE")
        refused = await found.chat("one")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_schema")
        ready = await found.client.get("/health/ready")
        assert ready.status_code == 503
        assert "messages" in ready.json()["dependencies"]["postgresql"]["detail"]


async def test_a_changed_password_is_a_reason_and_not_an_accident(postgres_url: str) -> None:
    url = sa.make_url(postgres_url).set(password="wrong").render_as_string(hide_password=False)
    async with serving(ScriptedEngine()) as engine, running(url, None, engine) as found:
        ready = await found.client.get("/health/ready")
        assert ready.status_code == 503
        assert "password" in ready.json()["dependencies"]["postgresql"]["detail"]
        refused = await found.chat("one")
        assert refused.json()["error"]["code"] == "storage_misconfigured"


async def test_a_lost_reply_is_not_stored_twice(postgres_url: str) -> None:
    """The write goes through, its reply is lost, the write is repeated: once, at every one of its places."""
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        store, lost = found.system.assistant._store, 0
        add_question, add_answer = store.add_question, store.add_answer

        async def losing(add: object, *arguments: object, is_again: bool = False, **values: object) -> object:
            nonlocal lost
            stored = await add(*arguments, is_again=is_again, **values)  # type: ignore[operator]
            if not is_again:
                lost += 1
                raise StorageUnavailable("lost")
            return stored

        store.add_question = lambda **values: losing(add_question, **values)  # type: ignore[method-assign,assignment]
        store.add_answer = lambda *question, **values: losing(add_answer, *question, **values)  # type: ignore[method-assign,assignment]
        first = (await found.chat("one")).json()
        await found.chat("two", conversation_id=first["conversation_id"])
        found.system.assistant.history.overlook(first["conversation_id"])
        await found.chat("three", conversation_id=first["conversation_id"])
        place = f"/conversations/{first['conversation_id']}?user_id=ana"
        messages = (await found.client.get(place)).json()["messages"]
        assert [m["content"] for m in messages if m["role"] == "user"] == ["one", "two", "three"]
        assert len(messages) == 6
        assert lost == 6


async def test_a_claim_and_its_answer_whose_replies_are_lost_are_one(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        ledger = found.system.assistant._questions._ledger
        seen: set[str] = set()

        def losing(name: str) -> object:
            real = getattr(ledger, name)

            async def call(*arguments: object, **values: object) -> object:
                done = await real(*arguments, **values)
                if name not in seen:
                    seen.add(name)
                    raise StorageUnavailable("lost")
                return done

            return call

        ledger.claim, ledger.settle = losing("claim"), losing("settle")  # type: ignore[method-assign,assignment]
        answer = await found.chat("one", headers={"Idempotency-Key": "k"})
        assert answer.status_code == 200
        assert seen == {"claim", "settle"}
        place = f"/conversations/{answer.json()['conversation_id']}?user_id=ana"
        assert len((await found.client.get(place)).json()["messages"]) == 2


async def test_patience_ends_with_what_does_not_pass() -> None:
    tries = 0

    async def full(_: bool) -> None:
        nonlocal tries
        tries += 1
        raise StorageUnavailable("full", passes=False)

    with pytest.raises(StorageUnavailable):
        await patiently(full, until_s=1e9)
    assert tries == 1


def test_every_trouble_has_its_line_and_no_parameters() -> None:
    before = incidents.counts[Incident.STORAGE_TROUBLE]
    for trouble in TROUBLES:
        state = (trouble.state + "000")[:5]
        with pytest.raises(StorageUnavailable), storage():
            raise sa.exc.OperationalError("INSERT", {}, _state(state))
    assert incidents.counts[Incident.STORAGE_TROUBLE] == before + len(TROUBLES)


async def test_old_rows_go_in_batches_and_young_ones_stay(postgres_url: str) -> None:
    async with serving(ScriptedEngine()) as url, running(postgres_url, None, url) as found:
        for number in range(5):
            await found.chat("one", headers={"Idempotency-Key": f"k{number}"})
        await found.system._telemetry._rows.flush()
        retention = Retention(found.db.engine, requests_days=1, timings_days=1)
        assert await retention.clean() == {"requests": 0, "timings": 0}
        async with found.db.engine.begin() as connection:
            for table in ("requests", "timings"):
                change = sa.text(f"UPDATE {table} SET created_at = created_at - CAST(:age AS interval)")
                await connection.execute(change, {"age": timedelta(days=2)})
        young = await found.chat("young", headers={"Idempotency-Key": "young"})
        gone = await retention.clean(batch=2)
        assert gone == {"requests": 5, "timings": 5}
        again = await found.chat("young", headers={"Idempotency-Key": "young"})
        assert again.json()["answer"] == young.json()["answer"]
        assert again.json()["cached"]
