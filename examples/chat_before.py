"""A chat service with the stock libraries: SQLAlchemy, redis.asyncio and openai. `chat_after.py` is the same.

DATABASE_URL, REDIS_URL and OPENAI_URL (ends in /v1) name the servers; run it with `uvicorn chat_before:app`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from openai import AsyncOpenAI
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

MODEL = os.environ.get("MODEL", "m")
engine = create_async_engine(os.environ["DATABASE_URL"])
sessions = async_sessionmaker(engine, expire_on_commit=False)
cache = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
llm = AsyncOpenAI(base_url=os.environ["OPENAI_URL"], api_key="-")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS asked (who text, question text)"))
    yield
    await llm.close()
    await cache.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/ask")
async def ask(who: str, question: str) -> dict[str, str | bool]:
    if known := await cache.get(f"answer:{question}"):
        return {"answer": known, "cached": True}
    async with sessions.begin() as session:
        await session.execute(text("INSERT INTO asked VALUES (:w, :q)"), {"w": who, "q": question})
    answer = ""
    messages = [{"role": "user", "content": question}]
    stream = await llm.chat.completions.create(model=MODEL, messages=messages, max_tokens=64, stream=True)
    async for item in stream:
        answer += item.choices[0].delta.content or "" if item.choices else ""
    await cache.set(f"answer:{question}", answer, ex=60)
    return {"answer": answer, "cached": False}
