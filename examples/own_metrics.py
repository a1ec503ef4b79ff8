"""Metrics of one's own app: three lines beside the app that is there, figures of every flow at /metrics.

Needs fluido[prometheus]. DATABASE_URL, REDIS_URL and OPENAI_URL name the servers; `uvicorn own_metrics:app`.
"""

import os

from fastapi import FastAPI
from prometheus_client import REGISTRY, make_asgi_app

from fluido.llm import Dispatcher, OpenAIEngine
from fluido.redis import Redis
from fluido.sqlalchemy import Limits, create_async_engine, pool_of
from fluido.telemetry.prometheus import FlowCollector

app = FastAPI()
engine = create_async_engine(os.environ["DATABASE_URL"], limit=Limits(min=2, max=50))
cache = Redis.from_url(os.environ["REDIS_URL"], client_name="cache")
llm = Dispatcher([OpenAIEngine(os.environ["OPENAI_URL"], model="m")])

flows = FlowCollector(lambda: [pool_of(engine), cache, *llm.flows()])
REGISTRY.register(flows)
app.mount("/metrics", make_asgi_app())
