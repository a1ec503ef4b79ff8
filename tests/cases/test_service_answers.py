"""What an engine says is made fit to be stored, and has an end of its own (service.md 7, 12 and 13)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.words import Cleaner, End, cleaned
from tests.cases.engine_shapes import Body, Refused
from tests.cases.service_engine import ScriptedEngine, serving
from tests.servers.sentinel import Running, eventually, running

pytestmark = pytest.mark.anyio


async def stored(found: Running, conversation_id: str) -> list[str]:
    read = await found.client.get(f"/conversations/{conversation_id}?user_id=ana")
    return [message["content"] for message in read.json()["messages"]]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["a\x00b"], "ab"),
        (["x\ud83d", "\ude00y"], "x\U0001f600y"),
        (["x\ud83d", "y"], "x\ufffdy"),
        (["x\ud83d"], "x\ufffd"),
        (["\ude00x", "\x00"], "\ufffdx"),
    ],
)
async def test_a_poisoned_answer_is_cleaned_and_kept(postgres_url: str, pieces: list[str], said: str) -> None:
    async with serving(ScriptedEngine(pieces)) as url, running(postgres_url, None, url) as found:
        whole = await found.chat("one")
        assert (whole.status_code, whole.json()["answer"]) == (200, said)
        events = await found.events("two", conversation_id=whole.json()["conversation_id"])
        assert "".join(data["text"] for name, data in events if name == "delta") == said
        assert events[-1][0] == "done"
        assert await stored(found, whole.json()["conversation_id"]) == ["one", said, "two", said]


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=6))
def test_cleaning_by_pieces_is_cleaning_the_whole(pieces: list[str]) -> None:
    cleaner = Cleaner()
    said = "".join([cleaner.feed(piece) for piece in pieces]) + cleaner.end()
    whole = "".join(pieces)
    assert said == cleaned(whole)
    assert "\x00" not in said
    said.encode()
    if not cleaner.cleaned:
        assert said.encode("utf-16", "surrogatepass") == whole.encode("utf-16", "surrogatepass")


@pytest.mark.servers
async def test_an_engine_that_ignores_its_bound_is_stopped(postgres_url: str) -> None:
    engine = ScriptedEngine(["word "])
    engine.endless = True
    async with serving(engine) as url, running(postgres_url, None, url, max_answer_chars=3_000) as found:
        bounded = (await found.chat("one", max_output_tokens=5)).json()
        assert bounded["finish_reason"] == "length"
        assert len(bounded["answer"]) < 1_000
        long = (await found.chat("two", max_output_tokens=4_000)).json()
        assert long["finish_reason"] == "length"
        assert len(long["answer"]) == 3_000
        assert (await stored(found, long["conversation_id"]))[1] == long["answer"]

        async def is_stopped() -> bool:
            return engine.inflight == 0

        await eventually(is_stopped, within_s=20)


@pytest.mark.servers
async def test_an_answer_that_takes_for_ever_ends_in_time(postgres_url: str) -> None:
    engine = ScriptedEngine(["word "], pause_s=0.02)
    engine.endless = True
    async with serving(engine) as url, running(postgres_url, None, url, max_answer_s=0.3) as found:
        events = await found.events("one", max_output_tokens=4_000)
        assert events[-1][0] == "done"
        assert events[-1][1]["finish_reason"] == "time"


def test_the_end_is_told_in_the_words_of_engines() -> None:
    end = End(max_chars=100, max_s=10.0, max_tokens=5)
    assert end.reason(chars=10, pieces=5, age_s=1.0) is None
    assert end.reason(chars=100, pieces=5, age_s=1.0) == "length"
    assert end.reason(chars=10, pieces=27, age_s=1.0) == "length"
    assert end.reason(chars=10, pieces=5, age_s=11.0) == "time"


@pytest.mark.servers
@pytest.mark.parametrize("count", [99_999_999_999, -5, 10**30])
async def test_counters_of_an_engine_do_not_lose_an_answer(postgres_url: str, count: int) -> None:
    engine = ScriptedEngine()
    engine.usage = {"prompt_tokens": count, "completion_tokens": count}
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        answer = await found.chat("one")
        assert (answer.status_code, answer.json()["answer"]) == (200, "Hello there")
        assert len(await stored(found, answer.json()["conversation_id"])) == 2


class Refusing(ScriptedEngine):
    """An engine that refuses each call with `refusal`."""

    def __init__(self, status: int, reply: Body) -> None:
        super().__init__()
        self.refusal = Refused(status, reply)

    def check(self, body: Body) -> None:
        raise self.refusal


@pytest.mark.servers
@pytest.mark.parametrize(
    ("status", "said", "told", "code"),
    [
        (400, "Jinja Exception: Conversation roles must alternate", 422, "engine_refused"),
        (404, "model 'x' not found", 404, "model_missing"),
    ],
)
async def test_what_an_engine_refuses_is_the_callers_to_know(
    postgres_url: str, status: int, said: str, told: int, code: str
) -> None:
    engine = Refusing(status, {"error": {"message": said, "code": status}})
    async with serving(engine) as url, running(postgres_url, None, url) as found:
        for path in ("/chat", "/chat/stream"):
            answer = await found.client.post(path, json={"user_id": "ana", "message": "hi"})
            if path == "/chat":
                assert (answer.status_code, answer.json()["error"]["code"]) == (told, code)
            assert "Something broke" not in answer.text
            assert url.removeprefix("http://") not in answer.text
        await found.system.assistant.drain()
        listed = await found.client.get("/conversations?user_id=ana")
        assert listed.json() == []
        assert (await found.client.get("/health/ready")).status_code == 200
        await found.chat("once more")
        ready = await found.client.get("/health/ready")
        assert ready.status_code == 503
        assert "refused the last 3" in ready.json()["dependencies"]["engine"]["detail"]
