"""Files that cannot be used: one sentence in Spanish, exit code 2, nothing written."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bench.report.command import gather, report
from bench.report.sources import ReportError
from bench.samples import raw_path

Change = Callable[[dict[str, Any]], object]
CLI = typer.Typer()
CLI.command()(report)


def answer(path: Path, out: Path, *more: str) -> tuple[int, str]:
    found = CliRunner().invoke(CLI, ["--results", str(path), "--out", str(out), *more])
    return found.exit_code, " ".join(found.output.split())


def changed(path: Path, change: Change) -> None:
    """Rewrite the document; its samples stay as they are."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def forged_row(document: dict[str, Any]) -> None:
    document["summary"][0] |= {"ratio": 99.0, "low": 90.0, "high": 110.0}


def negative_ratio(document: dict[str, Any]) -> None:
    document["summary"][0]["ratio"] = -1.0


def forged_claim(document: dict[str, Any]) -> None:
    document["claims"][1]["verdict"] = "worse"


def forged_capacity(document: dict[str, Any]) -> None:
    found = {"estimate": 99.0, "low": 98.0, "high": 100.0, "rounds": 9}
    document["capacity"] = {"people": {"v2": {**found, "people": 900.0, "share": 0.8, "people_per_s": 70.0}}}


def hidden_shortening(document: dict[str, Any]) -> None:
    document["shorter"] = [{**row, "shorter": row["shorter"] + 1} for row in document["shorter"]]


@pytest.mark.parametrize(
    ("forge", "where"),
    [
        (forged_row, "summary[0]"),
        (negative_ratio, "summary[0]"),
        (forged_claim, "claims[1]"),
        (forged_capacity, "capacity"),
        (hidden_shortening, "shorter[0]"),
    ],
)
def test_a_summary_that_its_samples_do_not_give_is_refused(
    result: Path, tmp_path: Path, forge: Change, where: str
) -> None:
    gather(result)
    changed(result, forge)
    out = tmp_path / "docs"
    code, said = answer(result, out)
    assert code == 2
    assert f"dice en «{where}" in said
    assert "otra cosa que sus muestras" in said
    assert not out.exists()


def drop(key: str) -> Change:
    return lambda document: document.pop(key)


def put(key: str, value: object) -> Change:
    return lambda document: document.update({key: value})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("schema", "otra/cosa"), "no es un resultado de este banco de pruebas"),
        (put("version", 2), "hay que repetir la medición"),
        (drop("environment"), "está incompleto: le falta «environment»"),
        (drop("summary"), "está incompleto: le falta «summary»"),
        (put("summary", []), "no contiene ninguna medida"),
        (drop("raw"), "no trae muestras"),
    ],
)
def test_a_result_that_is_not_ours_is_refused(
    result: Path, tmp_path: Path, change: Change, sentence: str
) -> None:
    changed(result, change)
    code, said = answer(result, tmp_path / "docs")
    assert code == 2
    assert sentence in said


def test_a_missing_file_and_a_torn_file(tmp_path: Path) -> None:
    assert answer(tmp_path / "nada.json", tmp_path / "docs") == (2, "No se puede leer nada.json: no existe.")
    torn = tmp_path / "roto.json"
    torn.write_text('{"schema": ', encoding="utf-8")
    assert "no es un JSON válido" in answer(torn, tmp_path / "docs")[1]
    torn.write_text("[1]", encoding="utf-8")
    assert answer(torn, tmp_path / "docs")[0] == 2


def test_samples_of_another_run_and_samples_that_are_gone(result: Path) -> None:
    beside = raw_path(result)
    packed = beside.read_bytes()
    beside.write_bytes(gzip.compress(b"[]"))
    with pytest.raises(ReportError, match="su huella es otra"):
        gather(result)
    beside.unlink()
    with pytest.raises(ReportError, match="Falta el archivo de muestras"):
        gather(result)
    beside.write_bytes(b"no gzip")
    changed(result, lambda d: d["raw"].update(sha256=hashlib.sha256(b"no gzip").hexdigest()))
    with pytest.raises(ReportError, match="no se pueden leer las muestras"):
        gather(result)
    beside.write_bytes(packed)


def test_documents_that_do_not_agree_are_named(result: Path, tmp_path: Path) -> None:
    code, said = answer(result, tmp_path / "docs", "--check")
    assert code == 1
    assert "REPRODUCIR.md" in said
