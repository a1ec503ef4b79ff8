"""PostgreSQL under Patroni: members that agree by Raft who is the primary, and an arbiter without data.

Patroni comes from requirements/ha.txt. It must not run as root, because PostgreSQL refuses to: it runs under
the account of account.py, with a copy of its packages where that account cannot reach ours.
"""

import importlib.metadata
import json
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embedded.account import OPEN_GROUND, Account, reachable_data, reachable_program, service_account, settle
from embedded.errors import GroundError
from embedded.folder import need_space, whole_folder
from embedded.outside import ask
from embedded.ports import free_port, listens
from embedded.postgres import DATABASE, USER, Postgres, program
from embedded.process import Command
from embedded.server import Server

SCOPE = "sentinel"
RUN_MEMBER = "from patroni.__main__ import main; main()"
RUN_ARBITER = "from patroni.raft_controller import main; main()"
# The shortest that Patroni accepts: a dead node is replaced after `ttl`, a dead postmaster at once.
TIMES: Mapping[str, object] = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}


@dataclass(frozen=True, slots=True)
class Group:
    """What the members of one cluster share: their Raft addresses and two secrets."""

    raft_ports: tuple[int, ...]
    password: str = field(default_factory=lambda: secrets.token_hex(24))
    replication: str = field(default_factory=lambda: secrets.token_hex(24))
    # Every account of this machine reaches loopback: Raft unpickles what it receives, REST takes commands.
    raft_secret: str = field(default_factory=lambda: secrets.token_hex(24))
    rest_secret: str = field(default_factory=lambda: secrets.token_hex(24))

    def raft(self, port: int, folder: Path) -> dict[str, object]:
        """Patroni's `raft` section for the member at `port`."""
        partners = [f"127.0.0.1:{other}" for other in self.raft_ports if other != port]
        return {
            "data_dir": str(folder),
            "self_addr": f"127.0.0.1:{port}",
            "partner_addrs": partners,
            "password": self.raft_secret,
        }


def packages(account: Account | None) -> Path:
    """A folder with Patroni and what it needs that `account` can reach; GroundError when it is missing."""
    try:
        place = Path(str(importlib.metadata.distribution("patroni").locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        raise GroundError(
            f"Patroni is not installed for {sys.executable}: install requirements/ha.txt (`make ha` does)."
        ) from None
    name = f"patroni-{importlib.metadata.version('patroni')}"
    return reachable_program(account, place, parts_of("patroni", {"raft", "psycopg3"}), name)


def parts_of(package: str, extras: set[str]) -> tuple[str, ...]:
    """The top-level files and folders of an installed package and of all that it needs."""
    parts: set[str] = set()
    seen: set[str] = set()
    waiting = [package]
    while waiting:
        name = waiting.pop()
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # asked for on another platform only
        seen.add(name)
        # `..` are scripts; several packages may share a folder
        parts |= {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}
        for need in found.requires or ():
            extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", need)
            wanted = re.split(r"[^A-Za-z0-9._-]", need, maxsplit=1)[0].lower()
            if wanted not in seen and (extra is None or (name == package and extra[1] in extras)):
                waiting.append(wanted)
    # the binary half of a package that is asked for by an extra of an extra
    for half in ("psycopg_binary", "psycopg_binary.libs"):
        parts.add(half)
    base = Path(str(importlib.metadata.distribution(package).locate_file("")))
    return tuple(sorted(part for part in parts if (base / part).is_dir()))


def interpreter(account: Account | None) -> Path:
    """This Python without its environment, or a copy of it where the account cannot enter our home."""
    python = Path(sys.executable).resolve()
    if account is None or account.reaches(python):
        return python
    copy = OPEN_GROUND / f"python-{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    if not copy.exists():
        OPEN_GROUND.mkdir(parents=True, exist_ok=True)
        OPEN_GROUND.chmod(0o711)
        need_space(OPEN_GROUND, 200, "a copy of Python")
        whole_folder(copy, lambda part: _copy_python(python, part))
    return copy / "bin" / python.name


def _copy_python(python: Path, part: Path) -> None:
    """The program, its library where it has one, and the standard library."""
    base = python.parents[1]
    (part / "bin").mkdir()
    (part / "lib").mkdir()
    shutil.copy2(python, part / "bin" / python.name)
    for library in (base / "lib").glob("libpython*"):
        shutil.copy2(library, part / "lib" / library.name)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "__pycache__", "config-*")
    shutil.copytree(base / "lib" / name, part / "lib" / name, ignore=left_out)
    part.chmod(0o755)


def patroni_command(server: Server, account: Account | None, code: str, configuration: Path) -> Command:
    """How a member or an arbiter runs; its configuration holds secrets and is readable by it only."""
    python = interpreter(account)
    return Command(
        name=server.name,
        argv=(str(python), "-c", code, str(configuration)),
        folder=configuration.parent,
        log=server.log,
        run_file=server.run_file,
        account=account.ids if account else None,
        environment={
            "PYTHONPATH": str(packages(account)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": str(python.parents[1] / "lib"),
            "HOME": str(configuration.parent),
            "LC_ALL": "C",
        },
        stop=((signal.SIGTERM, 8.0),),
    )


class PatroniMember(Postgres):
    """One PostgreSQL with its Patroni. Who is the primary is theirs to decide: ask `role()`."""

    name = "PostgreSQL member"
    start_wait_s = 90.0

    def __init__(self, data_dir: Path, group: Group, raft_port: int, *, folder: str) -> None:
        super().__init__(data_dir, port=free_port(), folder=folder)
        self.group = group
        self.api_port = free_port()
        self._raft_port = raft_port
        self.name = f"PostgreSQL {folder}"

    @property
    def password(self) -> str:
        return self.group.password

    @property
    def data(self) -> Path:
        """PostgreSQL's own data."""
        return self.folder / "data"

    @property
    def journal(self) -> Path:
        """Raft's own, beside the data: when their disk is full, Patroni must still agree with the others."""
        return self.folder.with_name(f"{self.folder.name}-raft")

    def describe(self) -> str:
        return f"{self.name} under Patroni on 127.0.0.1:{self.port}, its REST door on {self.api_port}"

    def prepare(self) -> None:
        if self.folder.parent != self.data_dir:
            settle(self.folder.parent, self.data_dir)
        place = program(self.account)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal.mkdir(exist_ok=True)
        configuration = self.folder / "patroni.json"
        configuration.touch(0o600)
        configuration.write_text(json.dumps(self.configuration(place), indent=2))
        own(self.account, self.folder, self.journal, configuration)

    def forget(self) -> None:
        shutil.rmtree(self.journal, ignore_errors=True)
        super().forget()

    def configuration(self, place: Path) -> dict[str, object]:
        """Patroni's configuration; JSON is YAML."""
        local = "127.0.0.1"
        parameters = {**self._settings, "unix_socket_directories": "", "hot_standby_feedback": "on"}
        dcs: dict[str, object] = {
            **TIMES,
            "primary_start_timeout": 0,
            "synchronous_mode": True,
            "maximum_lag_on_failover": 1 << 20,
            "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters},
        }
        return {
            "scope": SCOPE,
            "name": self.folder.name,
            "log": {"level": "INFO"},
            "restapi": {
                "listen": f"{local}:{self.api_port}",
                "connect_address": f"{local}:{self.api_port}",
                "authentication": {"username": "patroni", "password": self.group.rest_secret},
            },
            "ctl": {"authentication": {"username": "patroni", "password": self.group.rest_secret}},
            "raft": self.group.raft(self._raft_port, self.journal),
            "bootstrap": {
                "dcs": dcs,
                "initdb": [
                    {"encoding": "UTF8"},
                    {"locale": "C"},
                    {"locale-provider": "builtin"},
                    {"builtin-locale": "C.UTF-8"},
                    "data-checksums",
                ],
            },
            "postgresql": {
                "listen": f"{local}:{self.port}",
                "connect_address": f"{local}:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(place / "bin"),
                "pgpass": str(self.folder / "pgpass"),
                "pg_hba": [
                    f"host replication replicator {local}/32 scram-sha-256",
                    f"host all all {local}/32 scram-sha-256",
                ],
                "authentication": {
                    "superuser": {"username": USER, "password": self.group.password},
                    "replication": {"username": "replicator", "password": self.group.replication},
                },
            },
        }

    def command(self) -> Command:
        return patroni_command(self, self.account, RUN_MEMBER, self.folder / "patroni.json")

    def answers(self) -> bool:
        """Running as primary, or as a standby that follows one."""
        said = self.says()
        return said.get("state") == "running" and said.get("role") in {"primary", "replica"}

    def says(self) -> dict[str, object]:
        """What Patroni says of its member; empty while it says nothing."""
        return ask(f"http://127.0.0.1:{self.api_port}/patroni") or {}

    def role(self) -> str:
        """`primary`, `replica`, or what else Patroni calls it; empty while it says nothing."""
        return str(self.says().get("role", ""))

    def postmaster(self) -> int | None:
        """The process that a fault kills when only PostgreSQL dies and its Patroni lives."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def ensure_database(self) -> None:
        """Make the application's database on the primary, once."""
        names = self.query("SELECT datname FROM pg_database", database="postgres").splitlines()
        if DATABASE not in names:
            self.query(f"CREATE DATABASE {DATABASE}", database="postgres")


class Arbiter(Server):
    """A Raft member without PostgreSQL: of three, two may go on."""

    name = "Raft arbiter"

    def __init__(self, data_dir: Path, group: Group, raft_port: int, *, folder: str = "arbiter") -> None:
        super().__init__(data_dir, folder=folder, port=raft_port)
        self.account = service_account()
        self.folder = reachable_data(self.account, self.folder)
        self._group = group

    def describe(self) -> str:
        return f"{self.name} on 127.0.0.1:{self.port}"

    def prepare(self) -> None:
        if self.folder.parent != self.data_dir:
            settle(self.folder.parent, self.data_dir)
        raft = self.folder / "raft"
        raft.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "patroni.json"
        configuration.touch(0o600)
        configuration.write_text(json.dumps({"scope": SCOPE, "raft": self._group.raft(self.port, raft)}))
        own(self.account, self.folder, raft, configuration)

    def command(self) -> Command:
        return patroni_command(self, self.account, RUN_ARBITER, self.folder / "patroni.json")

    def answers(self) -> bool:
        """It has no door of its own but Raft's."""
        return self.running and listens(self.port)


def own(account: Account | None, *places: Path) -> None:
    for place in places:
        if account is not None:
            os.chown(place, *account.ids)
        if place.is_dir():
            place.chmod(0o700)
