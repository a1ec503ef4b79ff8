"""One queue for a gateway and a Dispatcher of the same process, in front of the same engines.

The Dispatcher makes its stations here (`Dispatcher(make_station=shared.station)`), and the gateway puts its
calls for their models into them. The Dispatcher opens and closes them: open it first, and close it last.
"""

import time
from collections.abc import Callable

from fluido.gateway._discovery import Engine
from fluido.gateway._flow import Flow
from fluido.laws import Law
from fluido.llm._engine import Engine as LlmEngine
from fluido.llm._engine import EngineFacts
from fluido.llm._profile import is_same


class Shared:
    """The queues of a Dispatcher, known by the addresses of their engines, which are not to be renamed."""

    def __init__(self) -> None:
        self._flows: list[Flow] = []

    def __contains__(self, flow: Flow) -> bool:
        return any(flow is each for each in self._flows)

    def station(
        self,
        engine: LlmEngine,
        *,
        model: str = "",
        law: Callable[[EngineFacts], Law] | None = None,
        max_waiting: int = 256,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Flow:
        """The queue in front of an engine; arguments as of `Station`."""
        where = Engine(engine.name, engine.name, "openai", {}, error="")
        flow = Flow(where, engine, model, max_waiting=max_waiting, law=law, clock=clock)
        self._flows.append(flow)
        return flow

    def flow(self, engine: Engine, model: str) -> Flow | None:
        """The one for a model of an engine, if it is one of these; it follows the gateway's look at it."""
        for flow in self._flows:
            if flow.name in {engine.url, engine.name} and is_same(flow.named or model, model):
                flow.where, flow.model = engine, flow.model or model
                return flow
        return None
