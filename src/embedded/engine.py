"""The embedded engine: llama.cpp's own HTTP server from the wheel `xllamacpp`, in a child process."""

import importlib.metadata
import importlib.util
import json
import signal
import sys
import urllib.request
from pathlib import Path

from embedded.errors import GroundError
from embedded.model_server import EngineOptions, ModelServer
from embedded.outside import Dialect
from embedded.process import Command

__all__ = ["Engine", "EngineOptions", "healthy"]

SCRIPT = Path(__file__).with_name("engine_server.py")


class Engine(ModelServer):
    """Speaks llama.cpp's and OpenAI's HTTP dialects at `url`. `/props` and `/slots` declare the slots."""

    name = "The engine"
    kind: Dialect = "llamacpp"
    start_wait_s = 120.0
    folder_name = "engine"
    _packages = Path()

    def describe(self) -> str:
        version = importlib.metadata.version("xllamacpp")
        cut = f"{self.options.slots} slots of {self.options.slot_tokens} tokens"
        return f"llama.cpp (xllamacpp {version}) at {self.url} with {self.model.describe()}, {cut}"

    def prepare(self) -> None:
        found = importlib.util.find_spec("xllamacpp")
        if found is None or found.origin is None:
            raise GroundError(
                f"The wheel xllamacpp is not installed for {sys.executable} (it exists for Linux and macOS, "
                "x86-64 and arm64): install requirements/run.txt, or give OLLAMA_URL of your own Ollama."
            )
        self._packages = Path(found.origin).parents[1]
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        options = self.options
        fields: dict[str, object] = {
            "model": str(self.model.path),
            "alias": self.model.name,
            "threads": self.threads,
            "port": self.port,
            "n_ctx": options.slot_tokens * (1 if options.one_buffer else options.slots),
            "kv_unified": options.one_buffer,
            "n_parallel": options.slots,
            "n_batch": options.batch_tokens,
            "n_ubatch": options.micro_batch_tokens,
            "cache_ram_mib": options.prompt_cache_mib,
            "endpoint_slots": True,
            "endpoint_props": True,
            "endpoint_metrics": True,
            "fit_params": False,
            "ui": False,
            # a page of another origin that the user visits has no business with an engine without a key
            "cors_origins": "",
            "verbosity": 2,
        }
        if options.chat_template:
            fields.update(chat_template=options.chat_template, use_jinja=True)
        return Command(
            name=self.name,
            argv=(sys.executable, str(SCRIPT), json.dumps(fields)),
            folder=self.folder,
            log=self.log,
            run_file=self.run_file,
            # where this Python found it, which need not be where a bare Python looks
            environment={"PYTHONPATH": str(self._packages)},
            stop=((signal.SIGTERM, 4.0),),
        )

    def answers(self) -> bool:
        return healthy(f"{self.url}/health")


def healthy(url: str, wait_s: float = 1.0) -> bool:
    """Whether a GET of `url` answers 200 within `wait_s`."""
    try:
        with urllib.request.urlopen(url, timeout=wait_s) as reply:  # noqa: S310  our own loopback address
            return bool(reply.status == 200)
    except OSError:
        return False
