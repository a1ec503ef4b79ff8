"""Leases on idempotency keys on a real PostgreSQL: two ledgers with pools of their own are two replicas."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa

from app.core.failures import KeyReused, NotFound, StillAnswering
from app.db.conversations import Answer, ConversationStore, StoredAnswer
from app.db.dynamic_session import DynamicPostgreSQLSession
from app.db.ledger import Claim, RequestLedger
from app.db.migrate import migrate
from tests.servers.sentinel import eventually

pytestmark = pytest.mark.anyio

# As Sentinel's own, shorter; a test process that does not run for 1.2 s would lose its leases, rightly.
LEASE_S, RENEW_S = 1.5, 0.3


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[RequestLedger]:
    db = DynamicPostgreSQLSession(url)
    ledger = RequestLedger(db.engine, lease_s=LEASE_S, renew_s=RENEW_S)
    try:
        yield ledger
    finally:
        await ledger.close()
        await db.close()


@pytest.fixture
async def url(postgres_url: str) -> str:
    db = DynamicPostgreSQLSession(postgres_url)
    await migrate(db.engine)
    await db.close()
    return postgres_url


@pytest.fixture
async def one(url: str) -> AsyncIterator[RequestLedger]:
    async with replica(url) as ledger:
        yield ledger


@pytest.fixture
async def other(url: str) -> AsyncIterator[RequestLedger]:
    async with replica(url) as ledger:
        yield ledger


@pytest.fixture
def admin(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url.replace("+asyncpg", ""), autocommit=True) as link:
        yield link


async def claimed(ledger: RequestLedger, key: str = "k", message: str = "one") -> Claim:
    return await ledger.claim(
        user_id="ana", key=key, message=message, kind="short", conversation_id=None, fresh_id=uuid4()
    )


def said(text: str) -> Answer:
    return Answer(text, "short", "m", "stop", 1.0, 2.0, 3)


async def settled(ledger: RequestLedger, claim: Claim, text: str) -> StoredAnswer:
    assert claim.lease is not None
    return await ledger.settle(claim.lease, claim.question, said(text))


async def die(ledger: RequestLedger) -> None:
    """What kill -9 and SIGSTOP leave behind: nothing is given back and nothing is renewed."""
    await ledger.close()


async def free_after(ledger: RequestLedger) -> tuple[Claim, float]:
    """Ask again as often as a client may; return the claim and how long that took."""
    claims: list[Claim] = []
    told_s: list[float] = []

    async def is_free() -> bool:
        try:
            claims.append(await claimed(ledger))
        except StillAnswering as error:
            told_s.append(error.retry_after_s)
            return False
        return True

    took_s = await eventually(is_free, within_s=10.0)
    assert all(0 < one <= LEASE_S for one in told_s)
    return claims[0], took_s


def stored(admin: psycopg.Connection) -> list[str]:
    return [row[0] for row in admin.execute("SELECT content FROM messages ORDER BY id")]


async def test_a_dead_replica_holds_a_key_for_one_lease(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection
) -> None:
    first = await claimed(one)
    await die(one)
    second, took_s = await free_after(other)
    # Scheduling of a busy machine comes on top; the deadline of a request would be a minute.
    assert took_s < LEASE_S + 15.0
    assert (second.question, second.answer) == (first.question, None)
    await settled(other, second, "answer")
    assert stored(admin) == ["one", "answer"]


async def test_the_retry_after_that_is_told_is_when_a_dead_replicas_key_is_free(
    one: RequestLedger, other: RequestLedger
) -> None:
    await claimed(one)
    await die(one)
    with pytest.raises(StillAnswering) as told:
        await claimed(other)
    await asyncio.sleep(told.value.retry_after_s)
    assert (await claimed(other)).answer is None


async def test_a_living_replica_keeps_its_key_beyond_the_lease(
    one: RequestLedger, other: RequestLedger
) -> None:
    first = await claimed(one)
    ends = time.perf_counter() + 2.5 * LEASE_S
    while time.perf_counter() < ends:
        with pytest.raises(StillAnswering):
            await claimed(other)
        await asyncio.sleep(RENEW_S)
    await settled(one, first, "answer")
    again = await claimed(other)
    assert again.answer is not None
    assert (again.answer.content, again.lease) == ("answer", None)


async def test_all_leases_are_renewed_by_one_statement_and_one_task(
    one: RequestLedger, admin: psycopg.Connection
) -> None:
    tasks = len(asyncio.all_tasks())
    claims = [await claimed(one, key=f"k-{number}") for number in range(30)]
    assert len(asyncio.all_tasks()) == tasks + 1
    seen: list[str] = []
    engine = one.leases._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    before = _ends(admin)

    async def all_moved() -> bool:
        after = _ends(admin)
        return all(after[key] > before[key] for key in before)

    await eventually(all_moved, within_s=10.0)
    renewals = sum("unnest" in statement for statement in seen)
    assert 1 <= renewals <= 3, seen
    for claim in claims:
        await settled(one, claim, "answer")
    assert len(one.leases) == 0

    async def task_ended() -> bool:
        return len(asyncio.all_tasks()) == tasks

    await eventually(task_ended, within_s=10.0)


def _ends(admin: psycopg.Connection) -> dict[str, float]:
    return {row[0]: row[1] for row in admin.execute("SELECT idempotency_key, answering_until FROM requests")}


@pytest.mark.parametrize("is_answered", [True, False], ids=["answered by the other", "being answered"])
async def test_who_lost_the_lease_stores_no_second_answer(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection, is_answered: bool
) -> None:
    first = await claimed(one)
    await die(one)  # stopped for longer than the lease
    second, _ = await free_after(other)
    if is_answered:
        await settled(other, second, "of the other")
    with pytest.raises(StillAnswering, match="took over"):
        await settled(one, first, "of the one that slept")
    # What it gives back is not its own any more.
    assert first.lease is not None
    await one.release(first.lease)
    if not is_answered:
        with pytest.raises(StillAnswering, match="is being answered"):
            await claimed(one)
        await settled(other, second, "of the other")
    assert stored(admin) == ["one", "of the other"]
    again = await claimed(one)
    assert again.answer is not None
    assert again.answer.content == "of the other"


async def test_a_lease_that_ran_out_and_that_nobody_took_still_settles(
    one: RequestLedger, admin: psycopg.Connection
) -> None:
    first = await claimed(one)
    await die(one)

    async def has_run_out() -> bool:
        return admin.execute("SELECT answering_until < now() FROM requests").fetchone() == (True,)

    await eventually(has_run_out, within_s=10.0)
    await settled(one, first, "answer")
    assert stored(admin) == ["one", "answer"]


async def test_a_retry_that_meets_the_settling_of_the_answer_gets_that_answer(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection
) -> None:
    """The lease is over, the answer is being stored: who came first to the row's lock decides."""
    first = await claimed(one)
    await die(one)
    admin.execute("UPDATE requests SET answering_until = now() - interval '1 hour'")
    settling, claiming = await _meeting(one, other, first, admin, renewed=False)
    await settling
    again = await claiming
    assert again.answer is not None
    assert again.answer.content == "answer"
    assert stored(admin) == ["one", "answer"]


async def test_a_retry_that_meets_settling_and_renewal_never_makes_two_answers(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection
) -> None:
    """A renewal changes the row below both, who then race for its new version: one of them wins, whole."""
    first = await claimed(one)
    await die(one)
    admin.execute("UPDATE requests SET answering_until = now() - interval '1 hour'")
    settling, claiming = await _meeting(one, other, first, admin, renewed=True)
    again = await claiming
    if again.answer is not None:
        await settling
        assert again.answer.content == "answer"
        assert stored(admin) == ["one", "answer"]
        return
    with pytest.raises(StillAnswering):
        await settling
    assert stored(admin) == ["one"]
    await settled(other, again, "the other's")
    assert stored(admin) == ["one", "the other's"]


async def _meeting(
    one: RequestLedger, other: RequestLedger, first: Claim, admin: psycopg.Connection, *, renewed: bool
) -> tuple["asyncio.Task[object]", "asyncio.Task[Claim]"]:
    """A settlement and a claim that both had to wait for the row, the settlement first."""
    with admin.transaction():
        admin.execute("SELECT 1 FROM requests FOR UPDATE")
        settling = asyncio.create_task(settled(one, first, "answer"))
        await eventually(lambda: _waiting(admin, 1), within_s=10.0)
        claiming = asyncio.create_task(claimed(other))
        await eventually(lambda: _waiting(admin, 2), within_s=10.0)
        if renewed:
            admin.execute("UPDATE requests SET answering_until = answering_until + interval '1 second'")
    return settling, claiming


async def _waiting(admin: psycopg.Connection, count: int) -> bool:
    return admin.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (count,)


async def test_a_renewal_that_fails_troubles_nobody(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection
) -> None:
    first = await claimed(one)
    with admin.transaction():
        # Renewals hang and time out for longer than the lease.
        admin.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
        await asyncio.sleep(1.5 * LEASE_S)
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    before = _ends(admin)

    async def is_renewed() -> bool:
        return _ends(admin)["k"] > before["k"]

    await eventually(is_renewed, within_s=10.0)
    with pytest.raises(StillAnswering):
        await claimed(other)
    await settled(one, first, "answer")
    assert stored(admin) == ["one", "answer"]


async def test_an_answer_whose_confirmation_was_lost_is_not_taken_back(
    one: RequestLedger, other: RequestLedger, admin: psycopg.Connection
) -> None:
    first = await claimed(one)
    assert first.lease is not None
    await settled(one, first, "answer")
    # The client of `settle` saw an error although it was committed, and gives the key back.
    await one.release(first.lease)
    again = await claimed(other)
    assert again.answer is not None
    assert stored(admin) == ["one", "answer"]


async def test_what_is_given_back_is_free_at_once(one: RequestLedger, other: RequestLedger) -> None:
    first = await claimed(one)
    assert first.lease is not None
    await one.release(first.lease)
    assert (await claimed(other)).question == first.question
    with pytest.raises(KeyReused):
        await claimed(one, message="two")


async def test_an_answer_to_a_conversation_that_is_being_deleted(
    one: RequestLedger, admin: psycopg.Connection
) -> None:
    """Deletion and settlement take their locks in one order: neither is a victim of the other."""
    first = await claimed(one)
    home: UUID = first.question.conversation_id
    with admin.transaction():
        admin.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (home,))
        settling = asyncio.create_task(settled(one, first, "answer"))
        await eventually(lambda: _waiting(admin, 1), within_s=10.0)
        admin.execute("DELETE FROM conversations WHERE id = %s", (home,))
    with pytest.raises(NotFound):
        await settling
    assert stored(admin) == []


async def test_an_answer_behind_a_message_that_came_meanwhile(
    one: RequestLedger, admin: psycopg.Connection
) -> None:
    first = await claimed(one)
    store = ConversationStore(one._engine)
    added = {"user_id": "ana", "conversation_id": first.question.conversation_id, "kind": "short"}
    await store.add_question(**added, content="two", is_new=False)
    await settled(one, first, "answer")
    assert stored(admin) == ["one", "two", "answer"]
    rows = admin.execute("SELECT id, previous_id FROM messages ORDER BY id").fetchall()
    assert [row[1] for row in rows[1:]] == [row[0] for row in rows[:-1]]
    await store.close()
