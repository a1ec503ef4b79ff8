"""What the chat page asks of the API: titles, search, messages taken back, thoughts, how an answer ended
(people.md 4).
"""

import asyncio

import httpx
import pytest

from tests.app.web.ground import TalkingEngine
from tests.cases.engine_shapes import running as serving
from tests.servers.sentinel import Running, eventually, running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

ANA = {"user_id": "ana"}
BOB = {"user_id": "bob"}


async def asked(found: Running, message: str, conversation: str | None = None) -> str:
    body = {**ANA, "message": message, "conversation_id": conversation}
    answer = await found.client.post("/chat", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["conversation_id"])


async def messages(found: Running, conversation: str) -> list[dict[str, object]]:
    read = await found.client.get(f"/conversations/{conversation}", params=ANA)
    return list(read.json()["messages"])


async def take_back(found: Running, place: str, message: object, user: dict[str, str]) -> httpx.Response:
    return await found.client.delete(f"{place}/messages/{message}", params=user)


async def found_one(engine: TalkingEngine) -> bool:
    return engine.inflight == 1


async def test_titles_are_the_first_words_until_their_owner_changes_them(postgres_url: str) -> None:
    async with serving(TalkingEngine()) as engine, running(postgres_url, None, engine.url) as found:
        conversation = await asked(found, "  What is\n a   valve? " + "x" * 90)
        place = f"/conversations/{conversation}"
        [row] = (await found.client.get("/conversations", params=ANA)).json()
        assert row["title"] == ("What is a valve? " + "x" * 90)[:80]
        for title, status in (("", 422), (" ", 422), ("a\x00", 422), ("x" * 201, 422), (" Valves ", 204)):
            answer = await found.client.patch(place, params=ANA, json={"title": title})
            assert answer.status_code == status, title
        assert (await found.client.patch(place, params=BOB, json={"title": "mine"})).status_code == 404
        [row] = (await found.client.get("/conversations", params=ANA)).json()
        assert row["title"] == "Valves"
        assert len(engine.bodies) == 1, "a title costs the engine nothing"


async def test_search_finds_titles_and_messages_and_takes_no_pattern(postgres_url: str) -> None:
    engine = TalkingEngine({"Tell me of ships": "A schooner has two MASTS."})
    async with serving(engine), running(postgres_url, None, engine.url) as found:
        ships = await asked(found, "Tell me of ships")
        percent = await asked(found, "What is 100% of 7?")
        for search, expected in (
            ("SHIPS", [ships]),
            ("two masts", [ships]),
            ("100%", [percent]),
            ("%", [percent]),
            ("_", []),
            ("\\", []),
            ("", [percent, ships]),
        ):
            rows = (await found.client.get("/conversations", params=ANA | {"search": search})).json()
            assert [row["id"] for row in rows] == expected, search
        assert (await found.client.get("/conversations", params=BOB | {"search": "ships"})).json() == []
        first = await found.client.get("/conversations", params=ANA | {"search": "o", "limit": "1"})
        more = ANA | {"search": "o", "limit": "1", "cursor": first.headers["x-next-cursor"]}
        [second] = (await found.client.get("/conversations", params=more)).json()
        assert {first.json()[0]["id"], second["id"]} == {ships, percent}


@pytest.mark.parametrize("with_redis", [True, False])
async def test_what_was_taken_back_is_erased_and_in_no_later_prompt(
    postgres_url: str, redis_url: str, with_redis: bool
) -> None:
    engine = TalkingEngine()
    async with (
        serving(engine),
        running(postgres_url, redis_url if with_redis else None, engine.url) as here,
        # Another replica, which keeps in its memory what is taken back here.
        running(postgres_url, redis_url if with_redis else None, engine.url) as there,
    ):
        conversation = await asked(there, "first")
        await asked(there, "a secret", conversation)
        place = f"/conversations/{conversation}"
        question = (await messages(here, conversation))[2]["id"]
        assert (await take_back(here, place, question, BOB)).status_code == 404
        assert (await take_back(here, place, 2**62, ANA)).status_code == 404
        assert (await take_back(here, place, question, ANA)).status_code == 204
        assert (await take_back(here, place, question, ANA)).status_code == 404
        assert [row["content"] for row in await messages(here, conversation)] == ["first", "You asked: first"]
        assert (await here.client.get("/conversations", params=ANA | {"search": "secret"})).json() == []
        for replica in (there, here):
            await asked(replica, "better", conversation)
            assert "secret" not in str(engine.bodies[-1]["messages"])
        said = [message["content"] for message in engine.bodies[-1]["messages"][1:]]
        assert said == ["first", "You asked: first", "better", "You asked: better", "better"]


async def test_an_answer_that_was_running_is_not_put_behind_what_was_taken_back(postgres_url: str) -> None:
    engine = TalkingEngine()
    engine.held = {"slow words, many of them"}
    async with serving(engine), running(postgres_url, None, engine.url) as found:
        conversation = await asked(found, "first")
        late = asyncio.create_task(asked(found, "slow words, many of them", conversation))
        await eventually(lambda: found_one(engine), within_s=10)
        question = (await messages(found, conversation))[2]["id"]
        gone = await take_back(found, f"/conversations/{conversation}", question, ANA)
        assert gone.status_code == 204
        engine.go.set()
        with pytest.raises(AssertionError, match="not_found"):
            await late
        assert len(await messages(found, conversation)) == 2


async def test_thoughts_are_sent_before_the_answer_and_not_stored(postgres_url: str) -> None:
    engine = TalkingEngine({"why?": "THINK:It is a short question.\n---\nBecause."})
    async with serving(engine), running(postgres_url, None, engine.url) as found:
        events = await found.events("why?", max_output_tokens=None)
        names = [name for name, _ in events]
        assert set(names[: names.index("delta")]) == {"thinking"}
        assert set(names[names.index("delta") :]) == {"delta", "done"}
        thoughts = "".join(data["text"] for name, data in events if name == "thinking")
        assert thoughts == "It is a short question."
        conversation = events[-1][1]["conversation_id"]
        assert [row["content"] for row in await messages(found, conversation)] == ["why?", "Because."]


async def test_a_stored_answer_says_how_it_ended(postgres_url: str) -> None:
    engine = TalkingEngine()
    engine.cut = {"cut me"}
    async with serving(engine), running(postgres_url, None, engine.url) as found:
        conversation = await asked(found, "cut me")
        await asked(found, "whole", conversation)
        rows = await messages(found, conversation)
        assert [(row["finish_reason"], row["cut"]) for row in rows] == [
            (None, False),
            ("length", True),
            (None, False),
            ("stop", False),
        ]
