"""The arms: the engine itself, the gateway, and other gateways from PyPI where they are installed."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

BACKEND = Path(__file__).parents[2]
START_S = 40.0
# Where other gateways are installed, each in a folder (a virtual environment) of its name; in none of our
# requirements.
OTHERS = "GATEWAY_ARMS"
TICKS_S = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Arm:
    """A process that listens on `port`, and all that it started."""

    name: str
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    heads: str = ""
    """What each request to it has to say in its head."""

    def cpu_s(self) -> float:
        """User and system time of the whole tree so far."""
        return sum(_cpu_s(pid) for pid in self.tree())

    def rss_kib(self) -> int:
        """Resident memory of the whole tree."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KIB for pid in self.tree())

    def tree(self) -> list[int]:
        """The process and its children."""
        if self.process is None:
            return []
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                queue += [int(child) for child in task.read_text().split()]
        return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def started(name: str, argv: list[str], port: int) -> AsyncIterator[Arm]:
    """A process of its own group, ended at the end."""
    environment = {**os.environ, "PYTHONPATH": f"{BACKEND}{os.pathsep}{BACKEND.parent / 'src'}"}
    process = subprocess.Popen(  # noqa: ASYNC220  (started once, before anything is measured)
        argv,
        env=environment,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(START_S):
            while not await _listens(port):
                if process.poll() is not None:
                    raise RuntimeError(f"{name} did not start: {' '.join(argv)}")
                await asyncio.sleep(0.1)
        yield Arm(name, port, process)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def stub(api: str = "openai", /, **pace: object) -> AsyncIterator[Arm]:
    """A stub engine in a process of its own."""
    port = free_port()
    flags = [text for name, value in pace.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    argv = [sys.executable, "-m", "bench.gateway.stub", "--port", str(port), "--api", api, *flags]
    async with started("direct", argv, port) as arm:
        yield arm


async def figures(engine: Arm) -> dict[str, float]:
    """What a stub engine has counted so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
    writer.write(b"GET /figures HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    return dict(json.loads(body))


@asynccontextmanager
async def fluido(
    *engines: Arm, name: str = "fluido", more: tuple[str, ...] = (), told: str = ""
) -> AsyncIterator[Arm]:
    """Ours, by its command; `told` is what it is told of each engine, as in `,slots=2`."""
    port = free_port()
    named = [text for engine in engines for text in ("--engine", f"http://127.0.0.1:{engine.port}{told}")]
    argv = [sys.executable, "-m", "fluido", "gateway", *named, "--port", str(port), *more]
    async with started(name, argv, port) as arm:
        yield arm


@asynccontextmanager
async def splice(engine: Arm) -> AsyncIterator[Arm]:
    """The least that a proxy can do here: bytes from one socket to another, on connections that are open."""
    port = free_port()
    argv = [sys.executable, "-m", "bench.gateway.splice", "--port", str(port), "--engine", str(engine.port)]
    async with started("splice", argv, port) as arm:
        yield arm


@dataclass(frozen=True, slots=True)
class Other:
    """Another gateway from PyPI, in an environment of its own: the folder, the program and its arguments.

    `heads` are what it asks of its clients, `made` a file that it reads.
    """

    name: str
    flags: Callable[[Arm, int, Path], list[str]]
    program: str = ""
    heads: str = ""
    model: str = "m"
    made: Callable[[Arm], str] | None = None

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        return Path(os.environ.get(OTHERS, "/nowhere")) / self.name / "bin" / (self.program or self.name)


def _router_flags(engine: Arm, port: int, _: Path) -> list[str]:
    worker, metrics = f"http://127.0.0.1:{engine.port}", str(free_port())
    flags = ["--worker-urls", worker, "--port", str(port), "--policy", "round_robin", "--host", "127.0.0.1"]
    return [*flags, "--prometheus-port", metrics]


LITELLM_KEY = "sk-the-bench-of-fluido-needs-one-1a2b3c4d5e6f"
VLLM_ROUTER = Other("vllm-router", _router_flags)
SMG = Other("smg", lambda engine, port, made: ["launch", *_router_flags(engine, port, made)])
LITELLM = Other(
    "litellm",
    lambda _, port, made: ["--config", str(made), "--host", "127.0.0.1", "--port", str(port)],
    heads=f"authorization: Bearer {LITELLM_KEY}\r\n",
    made=lambda engine: (
        f"""
model_list:
  - model_name: m
    litellm_params:
      model: openai/m
      api_base: http://127.0.0.1:{engine.port}/v1
      api_key: none
general_settings:
  master_key: {LITELLM_KEY}
"""
    ),
)


def installed(*others: Other) -> tuple[Other, ...]:
    """Those of them that are there."""
    return tuple(other for other in others if other.path.exists())


@asynccontextmanager
async def other(what: Other, engine: Arm) -> AsyncIterator[Arm]:
    """Another gateway in front of `engine`, started by its own command."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "config.yaml"
        made.write_text(what.made(engine) if what.made is not None else "")
        async with started(what.name, [str(what.path), *what.flags(engine, port, made)], port) as arm:
            yield replace(arm, heads=what.heads)
