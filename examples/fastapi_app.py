"""FastAPI: engine, session factory and Redis opened by the lifespan, given to routes as dependencies.

DATABASE_URL and REDIS_URL name the servers; run it with `uvicorn fastapi_app:app`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fluido.redis import Redis
from fluido.sqlalchemy import Limits, close_engine, create_async_engine


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(os.environ["DATABASE_URL"], limit=Limits(min=2, max=50))
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    yield
    await app.state.redis.aclose()
    await close_engine(engine)  # waits for the holders; `engine.dispose()` works too


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session
        await session.commit()


async def redis_of(request: Request) -> Redis:
    return request.app.state.redis


app = FastAPI(lifespan=lifespan)


@app.get("/hello/{name}")
async def hello(
    name: str,
    session: Annotated[AsyncSession, Depends(session_of)],
    redis: Annotated[Redis, Depends(redis_of)],
) -> dict[str, str | int]:
    upper = await session.scalar(text("SELECT upper(:name)"), {"name": name})
    return {"name": upper or "", "visits": await redis.incr(f"visits:{name}")}
