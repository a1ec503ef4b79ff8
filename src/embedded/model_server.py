"""What every server of a language model has: weights, the way it is cut, an address on loopback."""

import os
from dataclasses import dataclass
from pathlib import Path

from embedded.model import Model
from embedded.server import Server


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine is cut. These are runner options: they change only with a new start.

    `slots` requests are answered at once, each with `slot_tokens` of context. `prompt_cache_mib` bounds the
    memory in which prompts that lost their slot are kept (0: none). `threads=None`: one core is left
    to the others, because threads that share a core with somebody spin while they wait for each other.
    `one_buffer` is how llama-server starts without `-np`: all slots share `slot_tokens`. A prompt is
    read `batch_tokens` at a time: between two of them the engine notices who has left.
    `chat_template` (Jinja) stands in for the model's own.
    """

    slots: int = 4
    slot_tokens: int = 2048
    prompt_cache_mib: int = 256
    threads: int | None = None
    batch_tokens: int = 512
    micro_batch_tokens: int = 512
    one_buffer: bool = False
    chat_template: str = ""


class ModelServer(Server):
    """Serves `model`, cut by `options`; `folder` in the data directory is its own."""

    folder_name: str

    def __init__(
        self,
        data_dir: Path,
        model: Model,
        options: EngineOptions | None = None,
        *,
        port: int | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(data_dir, folder=folder or self.folder_name, port=port)
        self.model = model
        self.options = options or EngineOptions()

    @property
    def threads(self) -> int:
        """How many it computes with."""
        return self.options.threads or max(1, (os.cpu_count() or 2) - 1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"
