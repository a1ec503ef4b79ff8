"""The documents say what the files say, all of it, and nothing else."""

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from bench.report import command, slides
from bench.report.ledger import CLOSE, OPEN, Entry
from bench.report.losses import losing, losing_parts
from bench.report.rows import ours
from bench.report.sources import Material, gather

from .conftest import PARTS, ROOT

MEASURED = re.compile(r"\d+,\d+|\d[\d.]*\s*(?:ms|us|MB|GB|kWh|veces)\b|\d[\d.]*\s%")
NAMES = re.compile(
    r"95 %|100 %|80 % GET|20 % SET|1 % canceladas|servidor a \d+ ms|[\d,]+ % de la capacidad de V1"
)
"""The confidence of the intervals, the load that names a group of rows, and names of component scenes."""
SUPERLATIVES = (
    r"revolucionari[oa]", "sin precedentes", "el mejor", "la mejor", "único en", "líder", "inigualable",
    r"extraordinari[oa]", "primero en", "pionero", "increíble", "ultra",
)  # fmt: skip


def parsed(text: str) -> float:
    return float(text.removesuffix(" %").replace(".", "").replace(",", ".")) / (
        100 if text.endswith("%") else 1
    )


def tolerance(text: str, kind: str) -> float:
    """Half of the last printed digit."""
    decimals = len(text.removesuffix(" %").partition(",")[2])
    return 0.5 * 10.0 ** -(decimals + (2 if kind == "share" else 0)) * (1 + 1e-9)


def test_every_copied_number_is_the_one_in_its_file(material: Material, rendered: command.Rendered) -> None:
    by_letter = {source.letter: source for source in material.sources}
    copied = [entry for entry in rendered.entries if entry.paths and not entry.formula]
    assert len(copied) > 500
    for entry in copied:
        [(letter, path)] = entry.paths
        value = by_letter[letter].at(path)
        if entry.kind in {"words", "date"}:
            assert entry.text == str(value) or entry.kind == "date"
        elif value is None:
            assert entry.text == "no medido"
        else:
            assert abs(parsed(entry.text) - float(value)) <= tolerance(entry.text, entry.kind), entry


def test_no_measured_number_passes_by_the_ledger(material: Material) -> None:
    marked = re.compile(f"{OPEN}[^{CLOSE}]*{CLOSE}")
    for name, text in command.render(material, marked=True).documents.items():
        if name == command.TRACE:
            continue
        rest = marked.sub("N", text)
        rest = "\n".join(line for line in rest.splitlines() if "Nota de la corrida" not in line)
        rest = NAMES.sub("", rest)
        assert not MEASURED.findall(re.sub(r"`[^`]*`", "", rest)), name


def test_what_was_published_agrees_until_a_number_changes(result: Path, tmp_path: Path) -> None:
    out = tmp_path / "docs"
    material = gather(result, PARTS)
    names = command.publish(material, out)
    assert {path.name for path in out.iterdir() if path.is_file()} == set(names)
    assert command.disagreeing(material, out) == []

    document = json.loads(result.read_text(encoding="utf-8"))
    document["summary"][8]["ratio"] *= 1.5
    result.write_text(json.dumps(document), encoding="utf-8")
    changed = command.disagreeing(gather(result, PARTS), out)
    assert "COMPARACION_FINAL_V1_V2.md" in changed
    assert "PRESENTACION_ANID.pptx" in changed


def _without_digests(rendered: command.Rendered, name: str) -> str:
    return re.sub(r"`[0-9a-f]{12}`", "", rendered.documents[name])


def _changed(document: dict[str, Any], entry: Entry) -> dict[str, Any]:
    made = copy.deepcopy(document)
    found: Any = made
    *way, last = entry.paths[0][1]
    for step in way:
        found = found[step]
    found[last] = found[last] * 2 + 1
    return made


def test_any_changed_number_shows_in_the_document_that_prints_it(
    document: dict[str, Any], result: Path, tmp_path: Path
) -> None:
    before = command.render(gather(result))
    copied = [
        e
        for e in before.entries
        if e.paths and not e.formula and e.kind in {"value", "ratio", "count"} and e.text != "no medido"
    ]
    chosen = {entry.page: entry for entry in random.Random(7).sample(copied, len(copied))}
    assert len(chosen) == 7
    for page, entry in chosen.items():
        other = tmp_path / "other.json"
        other.write_text(json.dumps(_changed(document, entry)), encoding="utf-8")
        after = command.render(gather(other))
        assert _without_digests(before, page) != _without_digests(after, page), entry


def test_where_it_does_not_help_lists_every_case(material: Material, rendered: command.Rendered) -> None:
    section = rendered.documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    section = section.partition("## Dónde no ayuda")[2].partition("\n## ")[0]
    losers = [row for row in ours(material.main) if row.get("verdict") != "better"]
    assert len(losers) == len(losing(material)) > 10
    for row in losers:
        assert f"| {row.origin} |" in section
    assert len(losing_parts(material)) > 10
    for contest in losing_parts(material):
        assert f"| {contest.origin} |" in section


def test_each_latency_has_its_losses_beside_it(rendered: command.Rendered) -> None:
    text = rendered.documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    assert "| 1 + 0 de " in text
    assert "sin respuesta V2" in text


@pytest.mark.parametrize(
    ("kept", "name"),
    [
        ({"redis_turn"}, "only Redis"),
        ({"returning_users"}, "only one workload"),
        ({"new_conversations"}, "only few blocks"),
    ],
)
def test_what_was_not_measured_is_said_and_not_made_up(
    document: dict[str, Any], tmp_path: Path, kept: set[str], name: str
) -> None:
    document["summary"] = [row for row in document["summary"] if row["experiment"] in kept]
    document["configuration"] = {"profile": {}, "capacity_per_s": {}}
    document["blocks"] = []
    path = tmp_path / "part.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    out = tmp_path / "docs"
    command.publish(gather(path), out)
    for written in out.glob("*.md"):
        text = written.read_text(encoding="utf-8")
        assert not re.search(r"\bnan\b|\binf\b|\bNone\b", text), written.name
    assert "o medido" in (out / "COMPARACION_FINAL_V1_V2.md").read_text(encoding="utf-8"), name
    assert "No medido" in (out / "RESULTADOS_BUFFERS_DINAMICOS.md").read_text(encoding="utf-8")


def test_a_worse_verdict_and_a_broken_a_a_are_said_loudly(document: dict[str, Any], tmp_path: Path) -> None:
    row = dict(document["summary"][11], verdict="worse")
    same = dict(document["summary"][8], treatment="v1_again", verdict="better")
    document["summary"] = [*document["summary"][:11], row, same]
    path = tmp_path / "worse.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    text = command.render(gather(path)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    assert "**peor**" in text
    assert "El procedimiento encontró una diferencia donde no la hay** (R12)" in text
    assert "V2 es peor en: tiempo de Redis por petición p50" in text


def test_two_runs_are_compared_verdict_by_verdict(
    document: dict[str, Any], result: Path, tmp_path: Path
) -> None:
    document["summary"][8]["verdict"] = "undecided"
    again = tmp_path / "again.json"
    again.write_text(json.dumps(document), encoding="utf-8")
    text = command.render(gather(result, (), again)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    assert "26 de 27 veredictos coinciden" in text
    assert "R8 y S8" in text


def test_differing_verdicts_come_first_and_every_verdict_is_shown(
    document: dict[str, Any], result: Path, tmp_path: Path
) -> None:
    total = len(document["summary"])
    document["summary"][8]["verdict"] = "worse"
    document["environment"]["cores"] = 99
    again = tmp_path / "again.json"
    again.write_text(json.dumps(document), encoding="utf-8")
    text = command.render(gather(result, (), again)).documents["COMPARACION_FINAL_V1_V2.md"]
    section = text.partition("## Dos corridas")[2].partition("\n## ")[0]
    assert "**1 se contradicen.**" in section
    assert "**No tienen el mismo número de núcleos**" in section
    differing, _, all_of_them = section.partition("### Todos los veredictos")
    assert differing.count(" y S") == 1
    assert all_of_them.count(" y S") == total


def redis_row(document: dict[str, Any]) -> dict[str, Any]:
    """V2 against V1: what a whole request spends on Redis."""
    return next(
        row
        for row in document["summary"]
        if row["measure"] == "Redis p50"
        and row["treatment"] == "v2"
        and row["experiment"] == "returning_users"
    )


def test_a_stage_that_asks_nobody_is_a_bound_and_no_faster_server(
    document: dict[str, Any], tmp_path: Path
) -> None:
    row = redis_row(document)
    row.update(floor=0.05, treatment_value=0.05, control_value=0.7, ratio=14.0, low=13.0, high=15.0)
    row["verdict"] = "better"
    path = tmp_path / "tier.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    text = command.render(gather(path)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    table = text.partition("### Redis")[2].partition("\n### ")[0]
    line = next(line for line in table.splitlines() if "≥ 14,00" in line)
    assert "≤ 0,05" in line
    assert "es una cota" in line
    assert "V2 no espera a Redis" in line
    assert "cumplido" not in line
    assert "V2 ya no espera a Redis dentro de la petición" in table
    assert "No significa que Redis sea más rápido" in table


def test_a_slower_stage_is_said_to_be_slower_only_where_it_is(
    document: dict[str, Any], tmp_path: Path
) -> None:
    said = []
    for verdict in ("worse", "better"):
        for row in document["summary"]:
            if row["measure"] == "Redis p50":
                row["verdict"] = verdict
        path = tmp_path / f"{verdict}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        text = command.render(gather(path)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
        said.append(text.partition("### Redis")[2].partition("\n### ")[0])
    assert "espera más. Dentro de una petición" in said[0]
    assert "espera más" not in said[1]
    assert "no espera a Redis" not in "".join(said)


def test_a_run_of_one_process_an_arm_says_so(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**document, "version": 2}), encoding="utf-8")
    old = command.render(gather(path)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    path.write_text(json.dumps(document), encoding="utf-8")
    new = command.render(gather(path)).documents["RESULTADOS_BUFFERS_DINAMICOS.md"]
    assert "**Un solo proceso por brazo.**" in old
    assert "Cada ronda empieza con procesos nuevos" not in old
    assert "**Un solo proceso por brazo.**" not in new
    assert "Cada ronda empieza con procesos nuevos" in new


def test_every_file_that_a_document_names_exists(rendered: command.Rendered) -> None:
    for name, text in rendered.documents.items():
        for path in re.findall(r"`((?:src|backend|tests|docs)/[^` ]+)`", text):
            assert (ROOT / path).exists(), f"{name} names {path}"


def test_no_superlatives(rendered: command.Rendered) -> None:
    for name, text in rendered.documents.items():
        found = [word for word in SUPERLATIVES if re.search(rf"\b{word}\b", text.lower())]
        assert not found, name


def test_the_slides_hold_the_same_text_and_stay_on_the_page(
    rendered: command.Rendered, tmp_path: Path
) -> None:
    path = tmp_path / "deck.pptx"
    slides.write(rendered.deck, path, rendered.foot)
    assert slides.texts(path) == slides.expected(rendered.deck, rendered.foot)
    document = rendered.documents["PRESENTACION_ANID.md"]
    for slide in rendered.deck:
        assert slide.title in document
        for line in slide.table:
            assert "| " + " | ".join(line) + " |" in document
    assert slides.overflowing(path) == []


def test_the_reference_run_and_the_committed_documents_agree() -> None:
    """Binds from the moment that docs/results/reference exists; before it there is nothing to agree with."""
    if not command.REFERENCE.exists():
        assert not (command.DOCS / "RESULTADOS_BUFFERS_DINAMICOS.md").exists(), "documents without their data"
        return
    assert command.RESULTS.exists(), f"the reference run is not called {command.RESULTS.name}"
    again = command.AGAIN if command.AGAIN.exists() else None
    material = gather(command.RESULTS, command.default_parts(), again)
    assert command.disagreeing(material, command.DOCS, command.REFERENCE) == []
