"""The arms: the engine itself, the gateway, and other gateways from PyPI where they are installed."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

BACKEND = Path(__file__).parents[2]
START_S = 40.0
# Where other gateways are installed: an environment with vllm-router or litellm, in none of our requirements.
OTHERS = "GATEWAY_ARMS"
TICKS_S = os.sysconf("SC_CLK_TCK")
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Arm:
    """A process that listens on `port`, and all that it started."""

    name: str
    port: int
    process: "subprocess.Popen[bytes] | None" = None

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
async def stub(api: str = "openai", **pace: object) -> AsyncIterator[Arm]:
    """A stub engine in a process of its own."""
    port = free_port()
    flags = [text for name, value in pace.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    argv = [sys.executable, "-m", "bench.gateway.stub", "--port", str(port), "--api", api, *flags]
    async with started("direct", argv, port) as arm:
        yield arm


@asynccontextmanager
async def fluido(*engines: Arm, more: tuple[str, ...] = (), told: str = "") -> AsyncIterator[Arm]:
    """Ours, by its command; `told` is what it is told of each engine, as in `,slots=2`."""
    port = free_port()
    named = [text for engine in engines for text in ("--engine", f"http://127.0.0.1:{engine.port}{told}")]
    argv = [sys.executable, "-m", "fluido", "gateway", *named, "--port", str(port), *more]
    async with started("fluido", argv, port) as arm:
        yield arm


@asynccontextmanager
async def vllm_router(engine: Arm) -> AsyncIterator[Arm]:
    """vLLM's router (Rust), from PyPI."""
    port, metrics = free_port(), free_port()
    program = Path(os.environ[OTHERS]) / "bin" / "vllm-router"
    worker = f"http://127.0.0.1:{engine.port}"
    argv = [str(program), "--worker-urls", worker, "--port", str(port), "--policy", "round_robin"]
    argv += ["--host", "127.0.0.1", "--prometheus-port", str(metrics)]
    async with started("vllm-router", argv, port) as arm:
        yield arm


def has_vllm_router() -> bool:
    """Whether it is installed."""
    return (Path(os.environ.get(OTHERS, "/nowhere")) / "bin" / "vllm-router").exists()
