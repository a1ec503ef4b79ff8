"""What the doctor says of servers that are too old, on such servers, and of a clock that really is wrong.

They are not in our wheels. PostgreSQL 14 or older is taken from where Debian puts it, or from the folder that
OLD_POSTGRES names (it holds bin/); Ollama 0.8 from where `make ollama VERSION=v0.8.0` puts it; libfaketime
from Debian's package `faketime`. conftest.py says aloud what did not run.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

import embedded
from app.doctor.facts import Facts
from app.doctor.findings import findings
from app.doctor.look import Addresses, EngineAddress, look
from bench.faults.clock import SteppedClock, faketime
from embedded.account import reachable_program, service_account, settle
from embedded.ollama import built
from embedded.postgres import SECRET_FILE, USER
from embedded.process import Command
from embedded.program import Program
from embedded.synthetic import synthetic
from tests.servers.absent import NO_FAKETIME, NO_OLD_OLLAMA, NO_OLD_POSTGRES
from tests.servers.sentinel import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
ROOT = Path(__file__).parents[2]
OLD_OLLAMA = "v0.8.0"


def codes(facts: Facts) -> set[str]:
    return {finding.code for finding in findings(facts)}


def old_postgres() -> Path | None:
    """A folder with bin/, lib/ and share/ of a PostgreSQL before 15."""
    given = os.environ.get("OLD_POSTGRES")
    if given:
        return Path(given)
    debian = (place.parent for place in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    homes = (place.parent for place in debian)
    return next((home for home in homes if float(home.name) < 15), None)


class OldPostgres(embedded.Postgres):
    """The programs of another version, with what it already knew."""

    def __init__(self, data_dir: Path, home: Path) -> None:
        super().__init__(data_dir, durable=False)
        self.home = home

    def prepare(self) -> None:
        if self.folder.parent != self.data_dir:
            settle(self.folder.parent, self.data_dir)
        self.make(self.home)

    def fill(self, place: Path, part: Path) -> None:
        secret = part.parent / f"{part.name}.password"
        try:
            self._write_secret(secret, "old")
            self.run(
                place,
                "initdb",
                f"--pgdata={part}",
                f"--username={USER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            )
        finally:
            secret.unlink(missing_ok=True)
        self._write_secret(part / SECRET_FILE, "old")

    def command(self) -> Command:
        ours = super().command()
        return replace(ours, argv=(str(self.home / "bin" / "postgres"), *ours.argv[1:]))


async def test_a_postgresql_without_corrections(tmp_path: Path) -> None:
    home = old_postgres()
    if home is None:
        pytest.skip(NO_OLD_POSTGRES)
    account = service_account()
    home = reachable_program(account, home, ("bin", "lib", "share"), f"old-{home.name}")
    server = OldPostgres(tmp_path, home)
    server.start()
    try:
        found = codes(await look(Addresses(database_url=server.url(database="postgres"))))
        assert found == {"postgresql_viejo", "no_se_miro"}
    finally:
        server.stop()
        server.forget()


@pytest.fixture(scope="module")
def old_ollama(ground_folder: Path) -> Iterator[embedded.Ollama]:
    if built(OLD_OLLAMA) is None:
        pytest.skip(NO_OLD_OLLAMA)

    class OldOllama(embedded.Ollama):
        version = OLD_OLLAMA

    server = OldOllama(ground_folder, synthetic(), folder="old-ollama")
    server.start()
    yield server
    server.stop()


def runners(server: embedded.Ollama) -> set[int]:
    """The processes that hold a loaded model; a reload begins another."""
    assert server.child is not None
    family = psutil.Process(server.child.pid).children(recursive=True)
    return {child.pid for child in family if "runner" in child.cmdline()}


async def test_an_ollama_that_does_not_tell_its_window(old_ollama: embedded.Ollama) -> None:
    body = {"model": old_ollama.model.name, "prompt": "hello", "stream": False}
    body["options"] = {"num_predict": 1, "num_ctx": old_ollama.options.slot_tokens // 2}
    async with httpx.AsyncClient(timeout=60.0) as client:
        (await client.post(f"{old_ollama.url}/api/generate", json=body)).raise_for_status()
    before = runners(old_ollama)
    facts = await look(Addresses(engines=(EngineAddress(old_ollama.url),)))
    (engine,) = facts.engines
    assert (engine.version, engine.model) == (OLD_OLLAMA[1:], old_ollama.model.name)
    assert codes(facts) == {"ollama_viejo", "paralelismo_desconocido", "no_se_miro"}
    # asking in a window of its own would have made it reload what somebody else uses
    assert runners(old_ollama) == before != set()


async def test_a_replica_whose_clock_is_wrong(
    postgres_url: str, redis_url: str, synthetic_engine: embedded.Engine, tmp_path: Path
) -> None:
    library = faketime()
    if library is None:
        pytest.skip(NO_FAKETIME)
    clock = SteppedClock(tmp_path / "clock")
    given = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "OPENAI_URL": synthetic_engine.url,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "backend")]),
        **clock.environment(library),
    }
    serve = [sys.executable, "-m", "app", "serve"]
    replica = Program(tmp_path, serve, given, name="replica", home=ROOT / "backend")
    await asyncio.to_thread(replica.start)
    try:
        address = Addresses((replica.url,), postgres_url, redis_url)
        assert "relojes_distintos" not in codes(await look(address))
        clock.step(-3600)

        async def is_found() -> bool:
            return "relojes_distintos" in codes(await look(address))

        # the library looks into its file once a second, and uvicorn writes a new date as often
        await eventually(is_found, within_s=20.0, every_s=0.2)
    finally:
        await asyncio.to_thread(replica.stop)
