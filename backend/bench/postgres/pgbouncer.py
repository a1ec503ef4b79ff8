"""PgBouncer in transaction mode in front of a PostgreSQL: a competitor, and something to work through."""

import os
import shutil
import signal
import socket
from pathlib import Path

from sqlalchemy import URL, make_url

from embedded.account import reachable_data, service_account
from embedded.errors import GroundError
from embedded.process import Command
from embedded.server import Server

PROGRAM = "pgbouncer"
MISSING = "PgBouncer is not installed (Debian: apt-get install pgbouncer)"
SERVER_CONNECTIONS = 10


def installed() -> str | None:
    """The program, or None. Debian puts it where an ordinary user does not look."""
    return shutil.which(PROGRAM, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


class PgBouncer(Server):
    """One PgBouncer on a free loopback port; `size` server connections a database and user.

    Whoever reaches the port is let in as the user of `target`: for tests and trials on loopback only.
    """

    name = "PgBouncer"
    start_wait_s = 10.0

    def __init__(self, data_dir: Path, target: str | URL, *, size: int = SERVER_CONNECTIONS) -> None:
        super().__init__(data_dir, folder="pgbouncer", port=None)
        self.account = service_account()
        self.folder = reachable_data(self.account, self.folder)
        self.target = make_url(target)
        self.size = size

    def prepare(self) -> None:
        if installed() is None:
            raise GroundError(f"{MISSING}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.account is not None:
            # It refuses to run as root.
            os.chown(self.folder, *self.account.ids)

    def command(self) -> Command:
        place = self.folder / "pgbouncer.ini"
        place.touch(0o600)
        place.write_text("\n".join(self._lines()) + "\n")
        if self.account is not None:
            os.chown(place, *self.account.ids)
        return Command(
            name=self.name,
            argv=(installed() or PROGRAM, "-q", str(place)),
            folder=Path("/"),
            log=self.log,
            run_file=self.run_file,
            account=self.account.ids if self.account else None,
            stop=((signal.SIGTERM, 3.0),),
        )

    def _lines(self) -> list[str]:
        to = self.target
        server = f"host={to.host} port={to.port} user={to.username} password={to.password}"
        return [
            "[databases]",
            f"* = {server}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = any",
            "pool_mode = transaction",
            f"default_pool_size = {self.size}",
            "max_client_conn = 1000",
            "ignore_startup_parameters = extra_float_digits,options,search_path",
            "log_connections = 0",
            "log_disconnections = 0",
        ]

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def describe(self) -> str:
        return f"PgBouncer on 127.0.0.1:{self.port}, {self.size} connections to {self.target.host}"

    def url(self, *, driver: str = "+asyncpg") -> str:
        """The same database through PgBouncer."""
        to = self.target.set(host="127.0.0.1", port=self.port, drivername=f"postgresql{driver}")
        return to.render_as_string(hide_password=False)
