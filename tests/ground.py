"""The embedded servers that tests share: one of each for a worker of the run, started when asked for."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

import embedded
from embedded.engine import EngineOptions
from embedded.folder import DataFolder
from embedded.model import smollm2
from embedded.synthetic import synthetic

# llama.cpp's threads spin while they wait for each other: on a busy machine two are far slower than one.
ONE_THREAD = EngineOptions(threads=1)
# A new database has only what came with its template, whose numbers end here.
FIRST_OF_USERS = 16384
EVERY_CATALOG = """
    SELECT string_agg(format('SELECT oid FROM %s WHERE oid >= {first}', attrelid::regclass), ' UNION ALL ')
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE attname = 'oid' AND relkind = 'r' AND relnamespace = 'pg_catalog'::regnamespace AND NOT relisshared
"""
OUTSIDE = """
    SELECT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase <> 0)
        OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
        OR (SELECT datconnlimit <> -1 OR datistemplate OR datacl IS NOT NULL
                OR datdba <> current_user::regrole
            FROM pg_database WHERE datname = current_database())
"""
END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Databases:
    """Empty databases of one server. To empty one costs a hundredth of making one."""

    def __init__(self, server: embedded.Postgres) -> None:
        self._server = server
        self._numbers = count(1)
        self._spare: list[str] = []
        self._catalogs = ""

    def take(self) -> str:
        if self._spare:
            return self._spare.pop()
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._server.url(driver=""), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def give_back(self, name: str) -> None:
        if self._is_as_new(name):
            self._spare.append(name)
            return
        with psycopg.connect(self._server.url(driver=""), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _is_as_new(self, name: str) -> bool:
        """Empty it; whether nothing is left, in any catalog, of what the test did."""
        try:
            with psycopg.connect(
                self._server.url(driver="", database=name), options="-c lock_timeout=5s"
            ) as admin:
                admin.execute(END_OTHERS)
                if not self._catalogs:
                    self._catalogs = one(admin, EVERY_CATALOG.format(first=FIRST_OF_USERS))
                admin.execute("DROP SCHEMA public CASCADE")
                if one(admin, OUTSIDE) or one(admin, f"SELECT count(*) FROM ({self._catalogs})"):
                    return False
                # as in template0
                admin.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
                admin.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
        except psycopg.Error:
            return False  # whatever it was goes away with the database
        return True


def one(connection: psycopg.Connection, statement: str) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


@pytest.fixture(scope="session")
def ground_folder() -> Iterator[Path]:
    data = DataFolder(None)
    try:
        yield data.take()
    finally:
        data.release()


@pytest.fixture(scope="session")
def postgres_server(ground_folder: Path) -> Iterator[embedded.Postgres]:
    """The server itself, for tests that need its settings or its port. Not to be stopped: make your own."""
    server = embedded.Postgres(ground_folder, durable=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.forget()


@pytest.fixture(scope="session")
def databases(postgres_server: embedded.Postgres) -> Databases:
    return Databases(postgres_server)


@pytest.fixture
def postgres_url(postgres_server: embedded.Postgres, databases: Databases) -> Iterator[str]:
    """`postgresql+asyncpg://...` of an empty database that this test has for itself."""
    name = databases.take()
    yield postgres_server.url(database=name)
    databases.give_back(name)


@pytest.fixture(scope="session")
def redis_server(ground_folder: Path) -> Iterator[embedded.Redis]:
    server = embedded.Redis(ground_folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_url(redis_server: embedded.Redis) -> str:
    """`redis://:secret@...` of a server that was emptied for this test."""
    with redis.Redis.from_url(redis_server.url()) as link:
        link.flushall()
    return redis_server.url()


@pytest.fixture(scope="session")
def smollm2_engine(ground_folder: Path) -> Iterator[embedded.Engine]:
    """llama.cpp's server with real weights: for the few tests that need sense in the answer."""
    server = embedded.Engine(ground_folder, smollm2(), ONE_THREAD, folder="smollm2")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def synthetic_engine(ground_folder: Path) -> Iterator[embedded.Engine]:
    """llama.cpp's server with random weights: ten times cheaper, the same for whoever schedules it."""
    server = embedded.Engine(ground_folder, synthetic(), ONE_THREAD, folder="synthetic")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ollama_engine(ground_folder: Path) -> Iterator[embedded.Ollama]:
    """The real Ollama with the synthetic model, for tests with the marker `ollama`."""
    server = embedded.Ollama(ground_folder, synthetic(), ONE_THREAD)
    try:
        server.start()
        yield server
    finally:
        server.stop()
