"""Every experiment by name: what it asks, who is compared with whom, and by which measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.measures import CALLS, CHAT, CROWD, INSERTS, LANES, TURN, WAITING, Measure
from bench.workloads import NEW, RETURNING, SINGLE

POSTGRESQL, REDIS = "postgresql_turn", "redis_turn"
POSTGRESQL_WAITING, POSTGRESQL_INSERTS = "postgresql_waiting", "postgresql_inserts"
POSTGRESQL_LANES = "postgresql_lanes"
REDIS_GET, REDIS_SERVICE = "redis_get", "redis_service"
SAME_CODE, FAIRNESS, STEP, LEVERS = "same_code", "fairness", "capacity_step", "llm_levers"

ARMS = {
    "v1": "the static system: default pools, last three fragments, every request sent at once",
    "v1_tuned": "V1 with pool, pipeline and in-flight limit set to the best found by a sweep in this run",
    "fixed": "V2's structure with its limits nailed: what is gained without adapting",
    "v2": "Sentinel as shipped",
    "naive": "the first V2: other runner options by kind of query (negative control, Ollama only)",
    "v1_again": "V1 a second time, on servers of its own",
    "v2_again": "V2 a second time, on servers of its own",
    "sqlalchemy": "SQLAlchemy's own pool",
    "asyncpg": "asyncpg's own pool",
    "autocommit": "one INSERT and one commit a row, SQLAlchemy's default pool",
    "group_writer": "fluido's GroupWriter: one INSERT for many callers",
    "no_lanes": "fluido's pool, nobody says what kind of work it does",
    "lanes": "fluido's pool, classes of work are named",
    "redis_py": "redis-py with its default pool",
    "pipelines": "redis-py, explicit pipelines written by hand",
    "glide": "valkey-glide",
    "fluido": "fluido's drop-in",
    "append": "whole history, only ever appended to; slots chosen by the engine; no limit",
    "append_pins": "the same, conversations pinned to slots",
}
"""One line an arm, for every reader of the result."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """`headline`: the treatment whose primary measures are headline claims; empty: none is.

    `pairs`: control and treatment; empty: the control against every other arm.
    """

    title: str
    room: str
    measures: tuple[Measure, ...]
    control: str = "v1"
    headline: str = "v2"
    pairs: tuple[tuple[str, str], ...] = ()

    def compared(self, arms: Sequence[str]) -> list[tuple[str, str]]:
        """Control and treatment of each comparison that these arms allow."""
        if self.pairs:
            return [pair for pair in self.pairs if set(pair) <= set(arms)]
        return [(self.control, arm) for arm in sorted(arms) if arm != self.control and self.control in arms]


EXPERIMENTS: dict[str, Experiment] = {
    RETURNING: Experiment("returning users, whole requests over HTTP", "chat", CHAT),
    NEW: Experiment("new conversations of six turns, whole requests over HTTP", "chat", CHAT),
    SINGLE: Experiment("single questions, few asked often, whole requests over HTTP", "chat", CHAT),
    POSTGRESQL: Experiment("what one chat turn asks of PostgreSQL, 60 callers at once", "postgresql", TURN),
    REDIS: Experiment("what one chat turn asks of Redis, 64 callers at once", "redis", TURN),
    POSTGRESQL_WAITING: Experiment(
        "waiting for a connection, 100 callers on 10 connections",
        "postgresql",
        WAITING,
        control="sqlalchemy",
        headline="fluido",
    ),
    POSTGRESQL_INSERTS: Experiment(
        "rows stored one by one by 256 callers",
        "postgresql",
        INSERTS,
        control="autocommit",
        headline="group_writer",
    ),
    POSTGRESQL_LANES: Experiment(
        "short queries beside bursts of long ones, 10 connections",
        "postgresql",
        LANES,
        control="no_lanes",
        headline="lanes",
    ),
    REDIS_GET: Experiment(
        "GET of 64 bytes, 64 callers", "redis", CALLS, control="redis_py", headline="fluido"
    ),
    REDIS_SERVICE: Experiment(
        "a service: 3 GET and 1 SET a request, 64 callers",
        "redis",
        CALLS,
        control="redis_py",
        headline="fluido",
    ),
    FAIRNESS: Experiment("a crowd of 24 that never thinks: who waits longest", "chat", CROWD),
    STEP: Experiment("the engine loses half of its speed for a while", "chat", CHAT, headline=""),
    LEVERS: Experiment("which lever does what, engine only", "chat", CHAT[:6], headline=""),
    SAME_CODE: Experiment(
        "A/A: the same code twice, where nothing may be found",
        "chat",
        CHAT,
        pairs=(("v1", "v1_again"), ("v2", "v2_again")),
    ),
}


def scene(name: str, *levels: float) -> str:
    """`returning users at 50%, 90%`; a component alone has no load that could be a share of a capacity."""
    experiment = EXPERIMENTS.get(name)
    words = name.replace("_", " ")
    if not levels or (experiment is not None and (experiment.room != "chat" or name == FAIRNESS)):
        return words
    return f"{words} at {', '.join(f'{level:.0%}' for level in levels)}"


def about(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The experiments of a result in plain data."""
    return {
        name: {
            "title": experiment.title,
            "room": experiment.room,
            "control": experiment.control,
            "headline": experiment.headline,
            "is_same_code": name == SAME_CODE,
        }
        for name in names
        if (experiment := EXPERIMENTS.get(name)) is not None
    }
