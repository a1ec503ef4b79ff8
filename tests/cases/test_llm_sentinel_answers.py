"""Cases 6 and 7 of llm.md through Sentinel's HTTP: empty answers, answers that were cut, refusals."""

import pytest

from tests.cases.engine_shapes import Body, OpenAIShape, Refused, Thinking
from tests.cases.engine_shapes import running as serving
from tests.servers.sentinel import running

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


class Moody(OpenAIShape):
    """Says nothing to `nothing`, refuses `refuse`, answers the rest within its bound."""

    def check(self, body: Body) -> None:
        if "refuse" in body["messages"][-1]["content"]:
            raise Refused(400, self.error("the template cannot take this"))

    def answer(self, body: Body) -> tuple[list[Body], str]:
        if body["messages"][-1]["content"] == "nothing":
            return [{"content": ""}], "stop"
        return super().answer(body)


async def test_an_answer_without_a_word_is_told_and_not_stored(postgres_url: str) -> None:
    async with serving(Moody()) as engine, running(postgres_url, None, engine.url) as sentinel:
        first = (await sentinel.chat("hello")).json()
        assert (first["cut"], first["finish_reason"]) == (False, "stop")
        conversation = first["conversation_id"]
        for _ in range(2):
            empty = await sentinel.chat("nothing", conversation_id=conversation)
            assert empty.status_code == 502, empty.text
        assert (await sentinel.chat("and now?", conversation_id=conversation)).status_code == 200
        stored = (await sentinel.client.get(f"/conversations/{conversation}?user_id=ana")).json()["messages"]
        assert all(message["content"] for message in stored)
    roles = [message["role"] for message in engine.bodies[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


async def test_an_answer_that_was_cut_says_so_in_both_shapes(postgres_url: str) -> None:
    async with serving(Moody()) as engine, running(postgres_url, None, engine.url) as sentinel:
        whole = (await sentinel.chat("hello", max_output_tokens=2)).json()
        assert (whole["cut"], whole["answer"]) == (True, "w0 w1 ")
        events = await sentinel.events("hello", max_output_tokens=2)
        assert events[-1][0] == "done"
        assert events[-1][1]["cut"] is True
        more = await sentinel.chat("Continue.", conversation_id=whole["conversation_id"])
        assert more.json()["cut"] is False


async def test_a_refusal_costs_nobody_else_anything(postgres_url: str) -> None:
    async with serving(Moody()) as engine, running(postgres_url, None, engine.url) as sentinel:
        for _ in range(4):
            refused = await sentinel.chat("refuse this")
            assert 400 <= refused.status_code < 500, refused.text
            assert (await sentinel.chat("hello")).status_code == 200


async def test_a_thinking_model_is_answered_through_the_door(postgres_url: str) -> None:
    async with serving(Thinking()) as engine, running(postgres_url, None, engine.url) as sentinel:
        said = await sentinel.chat("What is the capital of Chile?", max_output_tokens=None)
        assert said.json()["answer"] == "Santiago."
        bounded = await sentinel.chat("What is the capital of Chile?", max_output_tokens=6)
        assert bounded.status_code == 502
