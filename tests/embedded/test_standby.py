"""A standby follows its primary, takes over, and everything that was acknowledged is there."""

from pathlib import Path

import pytest

from embedded.errors import GroundError
from embedded.postgres import Postgres
from embedded.standby import Standby

pytestmark = pytest.mark.servers


def test_a_standby_takes_over_with_all_rows(open_folder: Path) -> None:
    primary = Postgres(open_folder, durable=False)
    standby = Standby(primary, durable=False)
    try:
        primary.start()
        primary.query("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        standby.start()
        assert standby.follows
        primary.query("INSERT INTO kept VALUES (1001)")
        standby.wait_for_all()
        assert standby.query("SELECT max(n), pg_is_in_recovery() FROM kept") == "1001|t"
        with pytest.raises(GroundError, match="read-only transaction"):
            standby.query("INSERT INTO kept VALUES (1)")

        assert primary.child is not None
        primary.child.kill()
        standby.promote()
        standby.promote()
        assert not standby.follows
        standby.query("INSERT INTO kept VALUES (1002)")
        assert standby.query("SELECT max(n) FROM kept") == "1002"
        assert standby.url().endswith(f"@127.0.0.1:{standby.port}/sentinel")
    finally:
        standby.stop()
        primary.stop()
