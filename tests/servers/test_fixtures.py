"""The shared servers are real and every test finds them empty."""

import httpx
import psycopg
import pytest
import redis

import embedded


@pytest.mark.parametrize("turn", [1, 2])
def test_a_database_is_empty_for_every_test(postgres_url: str, turn: int) -> None:
    with psycopg.connect(postgres_url.replace("+asyncpg", "")) as link:
        link.execute("CREATE TABLE mine (id int)")
        assert link.info.server_version >= 180000


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty_for_every_test(redis_url: str, turn: int) -> None:
    with redis.Redis.from_url(redis_url) as link:
        assert link.set("mine", turn, nx=True)


def test_the_engine_answers_with_sense(smollm2_engine: embedded.Engine) -> None:
    question = {"role": "user", "content": "What is the capital of Chile? Answer in one sentence."}
    body = {"messages": [question], "max_tokens": 40, "temperature": 0}
    reply = httpx.post(f"{smollm2_engine.url}/v1/chat/completions", json=body, timeout=60).json()
    assert "Santiago" in reply["choices"][0]["message"]["content"]


def test_the_synthetic_engine_answers_as_long_as_it_may(synthetic_engine: embedded.Engine) -> None:
    text = "¿Cuál es la capital de Chile? naïve ✓"
    tokens = httpx.post(f"{synthetic_engine.url}/tokenize", json={"content": text}).json()["tokens"]
    back = httpx.post(f"{synthetic_engine.url}/detokenize", json={"tokens": tokens}).json()["content"]
    assert back == text

    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 32}
    reply = httpx.post(f"{synthetic_engine.url}/v1/chat/completions", json=body, timeout=60).json()
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 32
    assert len(httpx.get(f"{synthetic_engine.url}/slots").json()) == 4
