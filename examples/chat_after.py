"""The service of `chat_before.py` with fluido: twelve lines differ.

DATABASE_URL, REDIS_URL and OPENAI_URL (ends in /v1) name the servers; run it with `uvicorn chat_after:app`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker

from fluido.llm import Call, Delta, Dispatcher, OpenAIEngine
from fluido.redis import Redis
from fluido.sqlalchemy import Limits, create_async_engine

MODEL = os.environ.get("MODEL", "m")
engine = create_async_engine(os.environ["DATABASE_URL"], limit=Limits(min=2, max=50))
sessions = async_sessionmaker(engine, expire_on_commit=False)
cache = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
llm = Dispatcher([OpenAIEngine(os.environ["OPENAI_URL"], model=MODEL)])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS asked (who text, question text)"))
    await llm.open()
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
    async for item in llm.stream(Call(messages, options={"max_tokens": 64}, key=who)):
        answer += item.text if isinstance(item, Delta) else ""
    await cache.set(f"answer:{question}", answer, ex=60)
    return {"answer": answer, "cached": False}
