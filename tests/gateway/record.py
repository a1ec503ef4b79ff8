"""Records what packages ask of a gateway: `python -m tests.gateway.record PYTHON OLLAMA_URL NODE_MODULES`.

PYTHON has ollama, openai, langchain-ollama and langchain-openai (as `make conformance-gateway` makes
one), OLLAMA_URL is a real Ollama with the model smollm2:135m, NODE_MODULES a folder with @langchain/ollama
of npm. Each program is run through a gateway to it; its conversation is written to
tests/gateway/conversations. Home Assistant and n8n are recorded through the packages that they call, with the
arguments of their sources. What Open WebUI and Continue ask stands there as it was read in their sources:
neither is a package that runs by itself (Open WebUI's wheel wants some gigabytes of others, Continue's core
belongs to an editor's extension).
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from fluido.gateway._app import Gateway
from fluido.gateway._config import Config, EngineUrl
from fluido.gateway._http import Answer, Request

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

# homeassistant/components/ollama: config_flow.py lists, entity.py chats.
PROGRAMS["home-assistant"] = """
import asyncio, ollama
async def main():
    client = ollama.AsyncClient(host=URL, timeout=60)
    await client.list()
    tool = {"type": "function", "function": {"name": "HassTurnOn", "description": "Turns on a device",
        "parameters": {"type": "object", "required": [], "properties": {"area": {"type": "string"},
            "domain": {"type": "array", "items": {"type": "string"}}}}}}
    system = {"role": "system", "content": "You are a voice assistant for Home Assistant."}
    for said, keep_alive, tools in (("turn on the light", "-1s", None), ("and the hall", "300s", [tool])):
        parts = await client.chat(model="smollm2:135m", messages=[system, {"role": "user", "content": said}],
            tools=tools, stream=True, keep_alive=keep_alive, options={"num_ctx": 8192}, think=False)
        try:
            assert "".join([part["message"]["content"] async for part in parts])
        except ollama.ResponseError as error:
            assert "does not support tools" in error.error, error
asyncio.run(main())
"""
# n8n's node "Ollama Chat Model" is ChatOllama of @langchain/ollama; axios asks for its list of models.
NODE = {
    "n8n": """
import { ChatOllama } from "@langchain/ollama";
const baseUrl = process.env.URL;
const headers = { "user-agent": "axios/1.8.3", accept: "application/json" };
const listed = await (await fetch(baseUrl + "/api/tags", { headers })).json();
if (!listed.models.some((each) => each.name === "smollm2:135m")) throw new Error("no model");
const model = new ChatOllama({ baseUrl, model: "smollm2:135m", temperature: 0.7, numCtx: 2048,
  numPredict: 16, numBatch: 512, useMmap: true, keepAlive: "5m" });
if (!(await model.invoke("Hello")).content) throw new Error("no answer");
let text = "";
for await (const chunk of await model.stream("Hello again")) text += chunk.content;
if (!text) throw new Error("no stream");
"""
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


async def record(
    engine: str, name: str, command: list[str], program: str, folder: Path | None = None
) -> None:
    """One program through a gateway to a real Ollama."""
    async with Listening(Config(engines=(EngineUrl.parse(engine),), port=0)) as gateway:
        environment = {**os.environ, "NO_PROXY": "*", "URL": f"http://127.0.0.1:{gateway.port}"}
        process = await asyncio.create_subprocess_exec(*command, program, cwd=folder, env=environment)
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


async def main(python: str, engine: str, node_modules: str) -> None:
    """Every program."""
    for name, program in PROGRAMS.items():
        await record(engine, name, [python, "-c"], f"import os\nURL = os.environ['URL']\n{program}")
    for name, program in NODE.items():
        node = ["node", "--input-type=module", "-e"]
        await record(engine, name, node, program, Path(node_modules).parent)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
