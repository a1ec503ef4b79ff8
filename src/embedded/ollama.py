"""A real Ollama of our own: built once by `python -m embedded.ollama_build`, or one on the PATH.

It has its own models, made from a GGUF file, and its own port: an Ollama that the user runs is not touched.
"""

import hashlib
import http.client
import json
import shutil
import signal
from pathlib import Path
from typing import Any

from embedded.errors import GroundError
from embedded.folder import cache_folder, need_space
from embedded.model_server import ModelServer
from embedded.outside import Dialect, ask
from embedded.process import Command

VERSION = "v0.20.0"
CREATE_WAIT_S = 120.0
# ChatML, which both of our models were given, in Ollama's template language.
TEMPLATE = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


def built(version: str = VERSION) -> Path | None:
    """The program, or None where it was neither built nor installed. Another version counts only if built."""
    ours = cache_folder() / f"ollama-{version}" / "ollama"
    if ours.exists():
        return ours
    theirs = shutil.which("ollama") if version == VERSION else None
    return Path(theirs) if theirs else None


class Ollama(ModelServer):
    """Speaks Ollama's dialect at `url`. `model` is created in it at the first start and kept."""

    name = "Ollama"
    kind: Dialect = "ollama"
    folder_name = "ollama"
    version = VERSION
    _program = Path()

    def describe(self) -> str:
        said = ask(f"{self.url}/api/version") or {}
        version = str(said.get("version", "that does not answer"))
        # a program that was built without being told does not know its own number
        shown = self.version.removeprefix("v") if version == "0.0.0" else version
        return f"Ollama {shown} at {self.url} with {self.model.describe()}, {self.options.slots} slots"

    def prepare(self) -> None:
        program = built(self.version)
        if program is None:
            raise GroundError(
                "The real Ollama is not built on this machine: `make ollama` does it in a few minutes "
                "(it needs Go and a C++ compiler)."
            )
        self._program = program
        self.folder.mkdir(parents=True, exist_ok=True)
        need_space(self.folder, 300, "Ollama's copy of the model")

    def command(self) -> Command:
        options = self.options
        return Command(
            name=self.name,
            argv=(str(self._program), "serve"),
            folder=self.folder,
            log=self.log,
            run_file=self.run_file,
            environment={
                "HOME": str(self.folder),
                "OLLAMA_HOST": f"127.0.0.1:{self.port}",
                "OLLAMA_MODELS": str(self.folder / "models"),
                "OLLAMA_NUM_PARALLEL": str(options.slots),
                "OLLAMA_CONTEXT_LENGTH": str(options.slot_tokens),
                "OLLAMA_MAX_LOADED_MODELS": "1",
                "OLLAMA_KEEP_ALIVE": "-1",
                "OLLAMA_NOPRUNE": "1",
            },
            stop=((signal.SIGTERM, 5.0),),
        )

    def answers(self) -> bool:
        if ask(f"{self.url}/api/version") is None:
            return False
        if not self.has_model():
            self.create()
        return True

    def has_model(self) -> bool:
        models = (ask(f"{self.url}/api/tags") or {}).get("models") or []
        return self.model.name in {model["name"] for model in models}

    def create(self) -> None:
        """Hand the GGUF file over and name it; a few seconds for 100 MB."""
        with self.model.path.open("rb") as weights:
            digest = "sha256:" + hashlib.file_digest(weights, "sha256").hexdigest()
        self._post(f"/api/blobs/{digest}", self.model.path)
        self._post(
            "/api/create",
            {
                "model": self.model.name,
                "files": {self.model.path.name: digest},
                "template": TEMPLATE,
                "system": self.model.system,
                "parameters": self._parameters(),
                "stream": False,
            },
        )

    def _parameters(self) -> dict[str, Any]:
        return {"num_ctx": self.options.slot_tokens, "stop": ["<|im_end|>"], "num_thread": self.threads}

    def _post(self, path: str, body: Path | dict[str, Any]) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CREATE_WAIT_S)
        try:
            if isinstance(body, Path):
                with body.open("rb") as weights:
                    size = {"Content-Length": str(body.stat().st_size)}
                    link.request("POST", path, body=weights, headers=size)
                    reply = link.getresponse()
            else:
                link.request(
                    "POST", path, body=json.dumps(body), headers={"Content-Type": "application/json"}
                )
                reply = link.getresponse()
            said = reply.read(4096).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise GroundError(f"Ollama did not take the model {self.model.name}: {error}.") from error
        finally:
            link.close()
        if reply.status not in {200, 201}:
            raise GroundError(f"Ollama did not take the model {self.model.name}: {said.strip()}")
