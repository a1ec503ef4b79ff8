"""One set of runner options per model, the same in every call.

Ollama compares these fields with the model it holds and reloads it when one differs: measured, two of three
requests of the first version reloaded, and two callers that disagree can hang its loader for good
(ollama/ollama#14407). So they never come from a call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum, unique

RUNNER_FIELDS = frozenset(
    {
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "use_mmap",
        "use_mlock",
        "num_thread",
        "draft_num_predict",
    }
)


# Where Ollama's models come from when a name does not say.
DEFAULT_PLACES = ("registry.ollama.ai/", "library/")
DEFAULT_TAG = "latest"


def canonical(model: str) -> str:
    """The one name of an Ollama model: `m`, `m:latest` and `library/m` are one, and loaded once."""
    for place in DEFAULT_PLACES:
        model = model.removeprefix(place)
    if not model or ":" in model.rpartition("/")[2]:
        return model
    return f"{model}:{DEFAULT_TAG}"


def is_same(one: str, other: str) -> bool:
    """Whether two names are of one Ollama model; it does not look at capitals."""
    return canonical(one).casefold() == canonical(other).casefold()


@unique
class Wishes(Enum):
    """What becomes of a caller who asks for other runner options than the ones in force.

    STRICT refuses (CallRejected), RESIDENT answers with what is loaded and says so, PLANNED loads the model
    again for a larger `num_ctx`: when nothing is in flight, seldom (`widening`), and never for anything else.
    """

    STRICT = "strict"
    RESIDENT = "resident"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class RunnerProfile:
    """How a model is loaded.

    None leaves a field to the engine. `num_ctx` is the window of one slot in tokens.
    """

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None

    def given(self) -> dict[str, object]:
        """Only what is set, under Ollama's names."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


class Profiles:
    """The profile of each model, settled once.

    What was configured, else what is resident, else the Modelfile's.
    """

    def __init__(self, configured: Mapping[str, RunnerProfile] | None = None) -> None:
        self._configured = {_key(name): profile for name, profile in (configured or {}).items()}
        self._settled: dict[str, RunnerProfile] = {}

    def settled(self, model: str) -> RunnerProfile | None:
        """The profile in force, or None while nobody has settled it."""
        return self._settled.get(_key(model))

    def configured(self, model: str) -> RunnerProfile:
        """What was said for `model`. In force while nothing is known of the engine, and not for good."""
        return self._configured.get(canonical(model)) or self._configured.get("*") or RunnerProfile()

    def settle(self, model: str, *, resident_tokens: int, modelfile_tokens: int) -> RunnerProfile:
        """Fix the profile of `model` for good; later calls answer the first one's."""
        model = _key(model)
        if model not in self._settled:
            profile = self.configured(model)
            if profile.num_ctx is None:
                window = resident_tokens or modelfile_tokens or None
                profile = RunnerProfile(**{**profile.given(), "num_ctx": window})  # type: ignore[arg-type]
            self._settled[model] = profile
        return self._settled[model]

    def keep(self, model: str, profile: RunnerProfile) -> None:
        """Load `model` like this from now on."""
        self._settled[_key(model)] = profile


def _key(name: str) -> str:
    return name if name == "*" else canonical(name).casefold()


def runner_part(raw: Mapping[str, object]) -> dict[str, object]:
    """The runner options among what a caller sent as Ollama's `options`."""
    return {name: value for name, value in raw.items() if name in RUNNER_FIELDS}


def runner_notes(asked: Mapping[str, object], runner: Mapping[str, object]) -> tuple[str, ...]:
    """What to tell a caller who asked for other runner options than the ones in force."""
    return tuple(
        f"{name}={value} was not applied: the loaded model keeps {name}={runner.get(name, 'its own')}"
        for name, value in sorted(asked.items())
        if name in RUNNER_FIELDS and runner.get(name) != value
    )
