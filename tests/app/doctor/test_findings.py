"""From facts to findings, where the border lies."""

import io
import re
import socket
import urllib.error

import pytest
from rich.console import Console

from app.doctor.facts import (
    ClockFacts,
    EngineFacts,
    Facts,
    PostgresFacts,
    Reason,
    RedisFacts,
    ReplicaFacts,
)
from app.doctor.findings import Severity, findings
from app.doctor.reasons import reason_of
from app.doctor.report import BLIND, FOUND, HEALTHY, PARTIAL, exit_code, show
from app.doctor.texts import CODES, Language, language

SOUND_REDIS = RedisFacts("7.4.1", 1 << 28, "allkeys-lru", 1 << 20, 0, 0.2, 0.9)
SOUND_POSTGRES = PostgresFacts(180_000, 200, 3, 0)
REPLICA = ReplicaFacts("http://10.0.0.1:8000", pool_ceiling=50)


def codes(**values: object) -> set[str]:
    return {finding.code for finding in findings(Facts(**values))}  # type: ignore[arg-type]


def test_sound_services_have_no_finding_and_exit_with_zero() -> None:
    engine = EngineFacts("http://e", "llamacpp", "b1", 4)
    facts = Facts((REPLICA,), SOUND_POSTGRES, SOUND_REDIS, (engine,))
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
    assert codes(engines=(EngineFacts("e", "ollama", "0.5.1", 4),)) == {"ollama_viejo"}
    # what `go install` makes does not know its number
    assert codes(engines=(EngineFacts("e", "ollama", "0.0.0", 4),)) == set()
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


def report(facts: Facts, lang: Language) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    show(console, facts, findings(facts), lang)
    return console.export_text()


def test_the_report_names_the_remedy_worst_first_and_blindness_has_its_own_code() -> None:
    facts = Facts((ReplicaFacts("u", away={"redis": "away"}, unplanned_loads=2),), redis=SOUND_REDIS)
    assert re.search(r"GRAVE dependencia_ausente.*Remedio: Arranca Redis", report(facts, "es"), re.DOTALL)
    assert re.search(r"SERIOUS dependency_away.*Remedy: Start Redis", report(facts, "en"), re.DOTALL)
    assert "2 hallazgos." in report(facts, "es")
    assert "2 findings." in report(facts, "en")
    assert exit_code(facts, findings(facts)) == FOUND
    one = Facts((ReplicaFacts("u", unplanned_loads=1),), redis=SOUND_REDIS)
    assert "1 hallazgo." in report(one, "es")
    assert "1 respuesta esperó" in report(one, "es")
    assert "1 finding." in report(one, "en")
    assert "1 answer had to wait" in report(one, "en")
    blind = Facts(unseen=("redis",), failed={"http://x": Reason("refused")})
    assert exit_code(blind, findings(blind)) == BLIND
    assert "Nothing could be looked at" in report(blind, "en")


def test_what_was_not_looked_at_is_told_and_then_nothing_is_all_well() -> None:
    engine = EngineFacts("http://e", "llamacpp", "b1", 4)
    whole = Facts((REPLICA,), SOUND_POSTGRES, SOUND_REDIS, (engine,))
    assert exit_code(whole, findings(whole)) == HEALTHY
    assert "All well." in report(whole, "en")
    part = Facts((REPLICA,), redis=SOUND_REDIS, unseen=("postgresql", "engine"))
    assert exit_code(part, findings(part)) == PARTIAL
    assert "All well" not in report(part, "en")
    assert "Not looked at: PostgreSQL, engine." in report(part, "en")
    assert "Todo bien" not in report(part, "es")
    assert "No se miró: PostgreSQL, motor." in report(part, "es")


def test_slots_of_several_engines_add_up_and_one_that_tells_none_hides_the_sum() -> None:
    def engines(*slots: int | None) -> tuple[EngineFacts, ...]:
        return tuple(EngineFacts(f"e{index}", "llamacpp", "b1", each) for index, each in enumerate(slots))

    busy = PostgresFacts(180_000, 200, 3, 0, live_conversations=7)
    assert codes(postgres=busy, engines=engines(4)) == {"pocas_ranuras"}
    assert codes(postgres=busy, engines=engines(4, 4)) == set()
    assert codes(postgres=busy, engines=engines(4, None)) == {"paralelismo_desconocido"}


# One fact sheet for each finding, so that every text is put into words with the values that it really gets.
EVERY = (
    Facts((ReplicaFacts("u", {"postgresql": "x"}, 50, 3, True, True),), PostgresFacts(140_000, 40, 3, 1, 20)),
    Facts(redis=RedisFacts("6.2.0", 0, "noeviction", 1, 0, 9.0, 200.0, is_open=True)),
    Facts(redis=RedisFacts("8.0.0", 100, "noeviction", 90, 0, 0.1, 0.2)),
    Facts(redis=RedisFacts("8.0.0", 100, "allkeys-lru", 90, 1, 0.1, 0.2)),
    Facts(engines=(EngineFacts("e", "ollama", "0.5.1", None, "m", 4096, 2048, 20.0),)),
    Facts(
        postgres=PostgresFacts(180_000, 200, 3, 0, live_conversations=9),
        engines=(EngineFacts("e", "llamacpp", "b1", 4),),
    ),
    Facts(clocks=(ClockFacts("a", 0.0, 0.1), ClockFacts("b", 9.0, 0.1))),
    Facts(unseen=("redis", "engine", "sentinel"), failed={"postgresql": Reason("password")}),
)


@pytest.mark.parametrize("lang", ["es", "en"])
def test_every_finding_has_words_in_both_languages(lang: Language) -> None:
    said = set()
    for facts in EVERY:
        text = report(facts, lang)
        assert "{" not in text, text
        said |= {finding.code for finding in findings(facts)}
    assert said == CODES


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "refused"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "unknown_host"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1)"), "refused"),
        (OSError(113, "No route to host"), "unreachable"),
        (TimeoutError(), "late"),
        (ValueError("not an address"), "address"),
    ],
)
def test_what_python_raises_is_told_in_words_of_both_languages(error: Exception, kind: str) -> None:
    reason = reason_of(error)
    assert reason == Reason(kind)
    for lang in ("es", "en"):
        text = report(Facts(failed={"redis": reason}), lang)
        assert not re.search(r"Errno|urlopen|Error\b", text), text


def test_what_a_server_says_itself_is_quoted() -> None:
    facts = Facts(failed={"redis": reason_of(Exception("BUSY: a script runs"))})
    assert "«BUSY: a script runs»" in report(facts, "es")


@pytest.mark.parametrize(
    ("environment", "lang"),
    [
        ({"LANG": "es_CL.UTF-8"}, "es"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "es_ES", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "es", "LANG": "de_DE"}, "es"),
        ({}, "en"),
    ],
)
def test_the_language_is_that_of_the_environment(environment: dict[str, str], lang: str) -> None:
    assert language(environment) == lang
