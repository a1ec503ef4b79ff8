"""What measurements of an engine alone have in common."""

from typing import Literal

from fluido.llm import RunnerProfile

Dialect = Literal["llamacpp", "ollama"]
NEVER_ENDS = {"ignore_eos": True}
# Two threads of ggml wait for each other by spinning; the load and the arms need the other core.
ONE_THREAD = RunnerProfile(num_thread=1)
