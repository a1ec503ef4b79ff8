"""A hot standby that follows a primary by streaming, for tests and trials of failover."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from embedded.errors import GroundError
from embedded.postgres import USER, Postgres, program

PROMOTE_WAIT_S = 30


class Standby(Postgres):
    """A copy of a running `primary` that follows it until `promote()`. It has the primary's password.

    The copy is made at the first start (pg_basebackup). The primary may stop and come back on its port.
    """

    name = "PostgreSQL standby"

    def __init__(
        self,
        primary: Postgres,
        *,
        port: int | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        folder: str = "standby",
    ) -> None:
        super().__init__(primary.data_dir, port=port, durable=durable, settings=settings, folder=folder)
        self.primary = primary

    @property
    def follows(self) -> bool:
        """True until it was promoted."""
        return (self.folder / "standby.signal").exists()

    def fill(self, place: Path, part: Path) -> None:
        self.run(
            place,
            "pg_basebackup",
            f"--pgdata={part}",
            "--host=127.0.0.1",
            f"--port={self.primary.port}",
            f"--username={USER}",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            *(() if self._durable else ("--no-sync",)),
            environment={"PGPASSWORD": self.primary.password},
        )

    def wait_for_all(self, wait_s: float = 10.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Return when what the primary has committed so far can be read here; GroundError after `wait_s`."""
        # A mark that is flushed also flushes the commits before it that did not wait for the disk.
        mark = self.primary.query(
            "SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'standby', 'here')"
        )
        until = clock() + wait_s
        while self.query(f"SELECT pg_last_wal_replay_lsn() >= '{mark}'::pg_lsn") != "t":
            if clock() > until:
                raise GroundError(f"The standby is still behind its primary after {wait_s:.0f} s.")
            time.sleep(0.02)

    def promote(self) -> None:
        """Make it a primary of its own; returns when it takes writes. Stop the old primary first."""
        if self.follows:
            arguments = ("promote", f"--pgdata={self.folder}", "--wait", f"--timeout={PROMOTE_WAIT_S}")
            self.run(program(self.account), "pg_ctl", *arguments)
