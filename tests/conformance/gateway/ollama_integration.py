"""Ollama's own integration tests (Go), those of them that take a model of ours.

They look for a model by the name that a hub has for it: ours gets that name (`NAMES`). What needs another
model, pulls one or starts a server of its own is left out.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

MODULE = "github.com/ollama/ollama@v0.20.0"
NAMES = ("llama3.2:1b", "llama3.2")
PLAIN = (
    "TestAPIGenerate", "TestAPIChat", "TestAPIListModels", "TestAPIShowModel", "TestAPIGenerateLogprobs",
    "TestAPIChatLogprobs", "TestBlueSky", "TestLongInputContext", "TestContextExhaustion",
    "TestGenerateWithHistory", "TestChatWithHistory", "TestConcurrentChat",
)  # fmt: skip
# These take the model that OLLAMA_TEST_MODEL names.
OVERRIDDEN = (
    "TestEmbedCosineDistanceCorrelation",
    "TestEmbedTruncation",
    "TestEmbedLargeInput",
    "TestEmbedStatusCode",
)
RESULT = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", re.MULTILINE)
WORDS = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}
BUILD_S, RUN_S = 900, 900


def program(folder: Path) -> tuple[Path, Path] | None:
    """The compiled tests and the folder to run them in, made once; None without Go."""
    go = shutil.which("go")
    if go is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    asked = subprocess.run(
        [go, "mod", "download", "-json", MODULE],
        capture_output=True, text=True, check=True, timeout=BUILD_S, cwd=folder,
    )  # fmt: skip
    source = Path(json.loads(asked.stdout)["Dir"])
    made = folder / f"ollama-integration-{MODULE.rpartition('@')[2]}.test"
    if not made.exists():
        command = [go, "test", "-c", "-tags", "integration", "-o", str(made), "./integration"]
        subprocess.run(command, cwd=source, check=True, timeout=BUILD_S)
    return made, source / "integration"


def name_model(url: str, model: str) -> None:
    """Give ours the names that the tests ask for, at the engine itself."""
    for name in NAMES:
        body = json.dumps({"source": model, "destination": name}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/api/copy", body, headers)  # noqa: S310 - on loopback
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310
            pass


def results(made: tuple[Path, Path], url: str, model: str, only: str = "") -> dict[str, str]:
    """The result of each test, and of each of its parts, at the Ollama behind `url`."""
    found: dict[str, str] = {}
    for tests, named in ((PLAIN, ""), (OVERRIDDEN, model)):
        chosen = [test for test in tests if not only or test in only.split(" or ")]
        if not chosen:
            continue
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")},
            "OLLAMA_HOST": url.removeprefix("http://"),
            "OLLAMA_TEST_EXISTING": "1",
            **({"OLLAMA_TEST_MODEL": named} if named else {}),
        }
        command = [str(made[0]), "-test.v", f"-test.timeout={RUN_S}s"]
        command.append(f"-test.run=^({'|'.join(chosen)})$")
        said = subprocess.run(
            command,
            cwd=made[1],
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_S + 60,
            check=False,
        )
        found |= {name: WORDS[word] for word, name in RESULT.findall(said.stdout)}
    return found
