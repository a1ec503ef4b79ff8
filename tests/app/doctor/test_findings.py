"""From facts to findings, where the border lies."""

import re

import pytest
from rich.console import Console

from app.doctor.facts import ClockFacts, EngineFacts, Facts, PostgresFacts, RedisFacts, ReplicaFacts
from app.doctor.findings import Severity, findings
from app.doctor.report import BLIND, FOUND, HEALTHY, exit_code, show

SOUND_REDIS = RedisFacts("7.4.1", 1 << 28, "allkeys-lru", 1 << 20, 0, 0.2, 0.9)
SOUND_POSTGRES = PostgresFacts(180_000, 200, 3, 0)
REPLICA = ReplicaFacts("http://10.0.0.1:8000", pool_ceiling=50)


def codes(**values: object) -> set[str]:
    return {finding.code for finding in findings(Facts(**values))}  # type: ignore[arg-type]


def test_sound_services_have_no_finding_and_exit_with_zero() -> None:
    engine = EngineFacts("http://e", "llamacpp", "b1", 4)
    facts = Facts((REPLICA,), SOUND_POSTGRES, SOUND_REDIS, engine)
    assert findings(facts) == []
    assert exit_code(facts, []) == HEALTHY


@pytest.mark.parametrize(
    ("max_connections", "replicas", "others", "role_limit", "too_many"),
    [
        (53, 1, 0, None, False),
        (52, 1, 0, None, True),
        (103, 2, 0, None, False),
        (103, 2, 1, None, True),
        (200, 1, 0, 49, True),
        (200, 1, 0, 50, False),
    ],
)
def test_the_pools_of_all_replicas_must_fit_beside_the_others(
    max_connections: int, replicas: int, others: int, role_limit: int | None, too_many: bool
) -> None:
    seen = PostgresFacts(180_000, max_connections, 3, others, role_limit)
    assert (codes(replicas=(REPLICA,) * replicas, postgres=seen) == {"conexiones_de_mas"}) is too_many


def test_versions_that_nobody_mends_any_more() -> None:
    assert codes(postgres=PostgresFacts(140_019, 200, 3, 0)) == {"postgresql_viejo"}
    assert codes(engine=EngineFacts("e", "ollama", "0.5.1", 4)) == {"ollama_viejo"}
    # what `go install` makes does not know its number
    assert codes(engine=EngineFacts("e", "ollama", "0.0.0", 4)) == set()
    old = RedisFacts("6.2.14", 1 << 28, "allkeys-lru", 0, 0, 0.2, 0.9)
    facts = Facts(redis=old)
    assert [finding.severity for finding in findings(facts)] == [Severity.NOTE]
    assert exit_code(facts, findings(facts)) == HEALTHY


def test_a_full_redis_that_evicts_nothing_is_worse_than_one_with_room() -> None:
    severities = []
    for used in (1, 90):
        seen = RedisFacts("7.4.1", 100, "noeviction", used, 0, 0.2, 0.9)
        severities.append(findings(Facts(redis=seen))[0].severity)
    assert severities == [Severity.WARNING, Severity.SERIOUS]
    assert codes(redis=RedisFacts("7.4.1", 100, "allkeys-lru", 99, 5, 0.2, 0.9)) == {"redis_desaloja"}


def test_clocks_apart_by_less_than_their_error_are_not_blamed() -> None:
    near = (ClockFacts("a", 0.0, 1.0), ClockFacts("b", 2.9, 1.0))
    far = (ClockFacts("a", 0.0, 1.0), ClockFacts("b", 3.1, 1.0))
    assert (codes(clocks=near), codes(clocks=far)) == (set(), {"relojes_distintos"})


def test_a_replica_on_loopback_needs_no_key() -> None:
    assert codes(replicas=(ReplicaFacts("u", is_keyless=True),)) == set()
    assert codes(replicas=(ReplicaFacts("u", is_keyless=True, is_public=True),)) == {"puerto_sin_clave"}


def test_the_report_names_the_remedy_worst_first_and_blindness_has_its_own_code() -> None:
    console = Console(record=True, width=100)
    facts = Facts((ReplicaFacts("u", away={"redis": "away"}, unplanned_loads=2),), redis=SOUND_REDIS)
    found = findings(facts)
    show(console, facts, found)
    text = console.export_text()
    assert re.search(r"GRAVE dependencia_ausente.*Remedio: Arranca redis", text, re.DOTALL)
    assert "2 hallazgos" in text
    assert exit_code(facts, found) == FOUND
    blind = Facts(unseen={"Redis": "no se conoce su dirección"}, failed={"http://x": "nadie"})
    assert exit_code(blind, findings(blind)) == BLIND
