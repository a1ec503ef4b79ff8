"""What some tests need and a machine may not have, as the sentences that are shown when they did not run."""

from bench.faults.clock import MISSING as NO_FAKETIME
from bench.postgres.pgbouncer import MISSING as NO_PGBOUNCER

NO_OLLAMA = "the real Ollama is not built here; `make ollama` builds it"
NO_OLD_OLLAMA = "no old Ollama is built here; `make ollama VERSION=v0.8.0` builds one"
NO_OLD_POSTGRES = "no PostgreSQL before 15 is installed here, nor named by OLD_POSTGRES"

NO_CHROMIUM = "no Chromium here (install `chromium`): THE PAGES WERE NOT LOOKED AT"
ABSENT = {
    "a browser": NO_CHROMIUM,
    "real Ollama": NO_OLLAMA,
    "old Ollama": NO_OLD_OLLAMA,
    "old PostgreSQL": NO_OLD_POSTGRES,
    "wrong clock": NO_FAKETIME,
    "PgBouncer": NO_PGBOUNCER,
}
