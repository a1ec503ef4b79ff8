"""HAProxy in front of the others: one address for Sentinel, for the primary and for Redis' primary."""

import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embedded.errors import GroundError
from embedded.ports import free_port, listens
from embedded.process import Command
from embedded.server import Server

PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
# A part is out after `fall` checks and back after one. A replica announces that it leaves for longer.
CHECK_MS = 400
FALL = 2


@dataclass(frozen=True, slots=True)
class Backends:
    """Who stands behind: name -> port. PostgreSQL's second port is its Patroni's door."""

    replicas: Mapping[str, int]
    postgres: Mapping[str, tuple[int, int]]
    redis: Mapping[str, int]
    redis_password: str = field(repr=False)


def program() -> Path:
    """HAProxy on the PATH or where Debian puts it; GroundError says how to get it."""
    found = shutil.which("haproxy") or next(
        (place for folder in PLACES if (place := shutil.which("haproxy", path=folder))), None
    )
    if found is None:
        raise GroundError(
            "HAProxy is not installed: `apt-get install haproxy` (Debian, Ubuntu), "
            "`dnf install haproxy` or `brew install haproxy`."
        )
    return Path(found)


def checks(every_ms: int = CHECK_MS) -> str:
    return f"default-server inter {every_ms} fastinter 200 downinter 200 fall {FALL} rise 1"


def configuration(backends: Backends, *, web: int, postgres: int, redis: int) -> str:
    """The whole file. Sessions to a PostgreSQL or Redis that is out are closed: they could only hang."""

    def servers(ports: Mapping[str, int]) -> str:
        return "\n".join(f"    server {name} 127.0.0.1:{port} check" for name, port in ports.items())

    members = "\n".join(
        f"    server {name} 127.0.0.1:{port} check port {door}"
        for name, (port, door) in backends.postgres.items()
    )
    return f"""\
global
    maxconn 8192
    log stdout format raw local0 notice

defaults
    log global
    timeout connect 1s
    timeout check 1500ms
    timeout client 75s
    timeout server 75s
    option redispatch 1
    retries 3
    {checks()}

frontend sentinel
    mode http
    bind 127.0.0.1:{web}
    default_backend replicas

# A request is sent again only when no connection could be made: nothing can be done twice.
backend replicas
    mode http
    balance leastconn
    retry-on conn-failure
    option httpchk GET /health/ready
    http-check expect status 200
{servers(backends.replicas)}

listen postgres
    mode tcp
    bind 127.0.0.1:{postgres}
    timeout client 30m
    timeout server 30m
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server on-marked-down shutdown-sessions
{members}

listen redis
    mode tcp
    bind 127.0.0.1:{redis}
    timeout client 30m
    timeout server 30m
    balance first
    option tcp-check
    tcp-check send AUTH\\ {backends.redis_password}\\r\\n
    tcp-check expect string +OK
    tcp-check send info\\ replication\\r\\n
    tcp-check expect string role:master
    default-server on-marked-down shutdown-sessions
{servers(backends.redis)}
"""


class HaProxy(Server):
    """One balancer. `port` is Sentinel's; `postgres_port` and `redis_port` lead to the primaries."""

    name = "HAProxy"
    start_wait_s = 15.0

    def __init__(self, data_dir: Path, backends: Backends, *, port: int | None = None) -> None:
        super().__init__(data_dir, folder="haproxy", port=port)
        self.postgres_port = free_port()
        self.redis_port = free_port()
        self._backends = backends
        self._program = Path()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def describe(self) -> str:
        return (
            f"HAProxy: Sentinel at {self.url}, the PostgreSQL primary on 127.0.0.1:{self.postgres_port}, "
            f"Redis' primary on 127.0.0.1:{self.redis_port}"
        )

    def prepare(self) -> None:
        self._program = program()
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        file = self.folder / "haproxy.cfg"
        file.touch(0o600)
        file.write_text(
            configuration(self._backends, web=self.port, postgres=self.postgres_port, redis=self.redis_port)
        )
        return Command(
            name=self.name,
            argv=(str(self._program), "-db", "-f", str(file)),
            folder=self.folder,
            log=self.log,
            run_file=self.run_file,
            stop=((signal.SIGTERM, 3.0),),
        )

    def answers(self) -> bool:
        return listens(self.port)
