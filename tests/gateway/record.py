"""Records what packages ask of a gateway: `python -m tests.gateway.record PYTHON OLLAMA_URL`.

PYTHON has ollama, openai, langchain-ollama and langchain-openai (as `make conformance-gateway` makes
one), OLLAMA_URL is a real Ollama with the model smollm2:135m. Each program is run through a gateway to it;
its conversation is written to tests/gateway/conversations. What Open WebUI, Home Assistant, Continue and n8n
ask stands there as it was read in their sources.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from fluido.gateway.app import Gateway
from fluido.gateway.config import Config, EngineUrl
from fluido.gateway.http import Answer, Request

FOLDER = Path(__file__).with_name("conversations")
KEPT = ("user-agent", "content-type", "accept", "authorization")
PROGRAMS = {
    "ollama-package": """
import ollama
client = ollama.Client(URL)
client.list()
client.show("smollm2:135m")
client.ps()
hello = [{"role": "user", "content": "Why is the sky blue?"}]
assert client.chat("smollm2:135m", messages=hello, options={"num_predict": 16})["message"]["content"]
assert "".join(p["message"]["content"] for p in client.chat("smollm2:135m", messages=hello, stream=True,
    options={"num_ctx": 8192, "num_predict": 16}))
assert "".join(p["response"] for p in client.generate("smollm2:135m", prompt="Once", stream=True,
    keep_alive="10m", options={"num_predict": 16}))
""",
    "openai-package": """
import openai
client = openai.OpenAI(base_url=URL + "/v1", api_key="none")
client.models.list()
hello = [{"role": "user", "content": "Why is the sky blue?"}]
ask = client.chat.completions.create
assert ask(model="smollm2:135m", messages=hello, max_completion_tokens=16).choices[0].message.content
stream = ask(model="smollm2:135m", messages=hello, stream=True, max_tokens=16,
    stream_options={"include_usage": True})
assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
""",
    "langchain": """
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
theirs = ChatOllama(model="smollm2:135m", base_url=URL, num_ctx=4096, num_predict=16)
assert theirs.invoke("Why is the sky blue?").content
assert "".join(c.content for c in theirs.stream("Why is the sky blue?"))
other = ChatOpenAI(model="smollm2:135m", base_url=URL + "/v1", api_key="none", max_tokens=16)
assert other.invoke("Why is the sky blue?").content
assert "".join(c.content for c in other.stream("Why is the sky blue?"))
""",
}


class Listening(Gateway):
    """A gateway that writes down what it is asked."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.asked: list[Request] = []
        self.server.handler = self.listen

    async def listen(self, request: Request, answer: Answer) -> None:
        """Note it, then answer as usual."""
        self.asked.append(request)
        await self.handle(request, answer)


async def record(python: str, engine: str, name: str, program: str) -> None:
    """One program through a gateway to a real Ollama."""
    async with Listening(Config(engines=(EngineUrl.parse(engine),), port=0)) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        process = await asyncio.create_subprocess_exec(
            python, "-c", f"URL = {url!r}\n{program}", env={**os.environ, "NO_PROXY": "*"}
        )
        if await process.wait():
            raise SystemExit(f"{name} failed through the gateway")
    requests = []
    for asked in gateway.asked:
        headers = {key.decode(): value.decode() for key, value in asked.headers.items()}
        requests.append(
            {
                "method": asked.method,
                "path": asked.target,
                "headers": {key: value for key, value in headers.items() if key in KEPT},
                "body": json.loads(asked.body) if asked.body else None,
            }
        )
    FOLDER.mkdir(exist_ok=True)
    source = "recorded by tests/gateway/record.py"
    text = json.dumps({"source": source, "requests": requests}, indent=1)
    (FOLDER / f"{name}.json").write_text(f"{text}\n")


async def main(python: str, engine: str) -> None:
    """Every program."""
    for name, program in PROGRAMS.items():
        await record(python, engine, name, program)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
