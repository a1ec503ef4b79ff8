"""G13: prompts that are longer than the window of a real Ollama: refused with numbers, or cut in silence."""

import json
import random

from bench.gateway.arms import Arm, fluido
from bench.gateway.client import Heard, ask
from bench.gateway.result import Result
from bench.llm.ollama_stage import served
from embedded.model_server import EngineOptions
from embedded.synthetic import WORDS

PROMISE = "100 prompts that are longer than the window: none is cut in silence"
WINDOW = 2048
SHORTEST, LONGEST = 2500, 6000
APIS = ("ollama", "openai")


async def cut(calls: int = 100) -> Result:
    """Half of them in each API, half of them as streams; the same ones directly."""
    draw = random.Random(13)
    known = WORDS.read_text().split()
    prompts = [" ".join(draw.choices(known, k=draw.randint(SHORTEST, LONGEST))) for _ in range(calls)]
    found: dict[str, dict[str, object]] = {}
    silent: dict[str, int] = {}
    async with (
        served(EngineOptions(slots=2, slot_tokens=2048)) as server,
        fluido(Arm("", server.port)) as gateway,
    ):
        for arm in (Arm("direct", server.port), gateway):
            row = {"cut": 0, "refused": 0, "with_both_numbers": 0, "otherwise": 0}
            for at, prompt in enumerate(prompts):
                heard = await ask(
                    arm,
                    api=APIS[at % 2],
                    stream=at % 4 < 2,
                    model=server.model.name,
                    words=1,
                    prompt=prompt,
                    keeps_body=True,
                )
                kind = _kind(heard)
                row[kind] += 1
                row["with_both_numbers"] += kind == "refused" and _has_numbers(heard)
            silent[arm.name] = row["cut"]
            found[arm.name] = dict(row)
    compared = {f"cut in silence, {name}": count for name, count in silent.items()}
    met = silent["fluido"] == 0 and found["fluido"]["refused"] == calls
    return Result("G13", PROMISE, found, compared, met, f"{calls} prompts of {SHORTEST} to {LONGEST} words")


def _kind(heard: Heard) -> str:
    if heard.status == 400:
        return "refused"
    return "cut" if heard.status == 200 and heard.is_answer else "otherwise"


def _has_numbers(heard: Heard) -> bool:
    """Whether the refusal says the window and how long the prompt was."""
    body = heard.body[heard.body.index(b"{") :]
    said = json.dumps(json.loads(body))
    numbers = [int(word) for word in "".join(c if c.isdigit() else " " for c in said).split()]
    return WINDOW in numbers and any(SHORTEST <= number <= 4 * LONGEST for number in numbers)
