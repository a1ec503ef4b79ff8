"""Every kind of flow in one list, as the guide of metrics shows it."""

from prometheus_client import REGISTRY

from fluido import Batcher, Fixed, Limiter
from fluido.llm import Dispatcher, OllamaEngine
from fluido.redis import Redis
from fluido.sqlalchemy import GroupWriter, create_async_engine, pool_of
from fluido.telemetry.prometheus import FlowCollector


async def _write(items: object) -> None:
    """Store nothing."""


def a_program(writer: GroupWriter) -> None:
    """Each has `stats()`; nothing has to be named twice."""
    engine = create_async_engine("postgresql+asyncpg://")
    cache = Redis()
    llm = Dispatcher([OllamaEngine()])
    limiter = Limiter(Fixed(10), name="service", max_waiting=100)
    batcher: Batcher[int, None] = Batcher(_write, name="ints", max_pending=100)
    REGISTRY.register(FlowCollector(lambda: [pool_of(engine), cache, *llm.flows()]))
    REGISTRY.register(FlowCollector(lambda: [limiter, batcher, writer, *llm.flows()]))


def what_is_refused() -> None:
    """Each of these is an error; mypy says so when it is none."""
    engine = create_async_engine("postgresql+asyncpg://")
    FlowCollector(lambda: [engine])  # type: ignore[list-item]
    Limiter(Fixed(10), name="service")  # type: ignore[call-arg]
    Limiter(10, name="service", max_waiting=100)  # type: ignore[arg-type]
