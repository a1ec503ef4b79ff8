"""Files that cannot be used: one sentence in Spanish, exit code 2, nothing written."""

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.__main__ import cli
from bench.report.command import default_parts
from bench.report.errors import ReportError
from bench.report.sources import gather, is_part

Change = Callable[[dict[str, Any]], object]


def drop(key: str) -> Change:
    return lambda document: document.pop(key)


def put(key: str, value: object) -> Change:
    return lambda document: document.update({key: value})


def run(path: Path, out: Path) -> tuple[int, str]:
    answer = CliRunner().invoke(cli, ["report", "--results", str(path), "--out", str(out)])
    return answer.exit_code, " ".join(answer.output.split())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("schema", "otra/cosa"), "no es un resultado de este banco de pruebas"),
        (put("version", 0), "hay que repetir la medición"),
        (drop("environment"), "está incompleto: le falta «environment»"),
        (drop("summary"), "está incompleto: le falta «summary»"),
        (put("summary", []), "no contiene ninguna medida"),
        (lambda d: d["summary"][3].pop("verdict"), "la fila 3 de «summary» no tiene un «verdict» válido"),
        (lambda d: d["summary"][0].update(ratio="2"), "«ratio» de la fila 0 no es un número"),
        (put("summary", ["x"]), "la fila 0 de «summary» no es un objeto"),
    ],
)
def test_a_result_that_is_not_ours_is_refused(
    document: dict[str, Any], tmp_path: Path, change: Change, sentence: str
) -> None:
    change(document)
    path, out = tmp_path / "malo.json", tmp_path / "docs"
    path.write_text(json.dumps(document), encoding="utf-8")
    code, said = run(path, out)
    assert code == 2
    assert sentence in said
    assert not out.exists()


def test_a_missing_file_and_a_torn_file(tmp_path: Path) -> None:
    assert run(tmp_path / "nada.json", tmp_path / "docs") == (2, "No se puede leer nada.json: no existe.")
    torn = tmp_path / "roto.json"
    torn.write_text('{"schema": ', encoding="utf-8")
    code, said = run(torn, tmp_path / "docs")
    assert code == 2
    assert "no es un JSON válido" in said
    torn.write_text("[1]", encoding="utf-8")
    assert run(torn, tmp_path / "docs")[0] == 2


@pytest.mark.parametrize("content", [{}, {"environment": {}}, {"environment": {}, "measured": [{"arm": 1}]}])
def test_a_component_file_that_is_not_one(result: Path, tmp_path: Path, content: dict[str, Any]) -> None:
    part = tmp_path / "parte.json"
    part.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ReportError, match=r"parte\.json no "):
        gather(result, [part])


def test_documents_that_do_not_agree_are_named(result: Path, tmp_path: Path) -> None:
    answer = CliRunner().invoke(cli, ["report", "--results", str(result), "--out", str(tmp_path), "--check"])
    assert answer.exit_code == 1
    assert "REPRODUCIR.md" in answer.output


def test_a_compressed_result_and_samples_in_a_file_beside_it(
    document: dict[str, Any], tmp_path: Path
) -> None:
    packed = gzip.compress(json.dumps(document.pop("blocks")).encode())
    (tmp_path / "muestras.json.gz").write_bytes(packed)
    document["raw"] = {"file": "muestras.json.gz", "sha256": hashlib.sha256(packed).hexdigest(), "blocks": 1}
    path = tmp_path / "result.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    assert gather(path).main.at(("blocks", 0, "arm")) in {"v1", "v2"}

    (tmp_path / "muestras.json.gz").write_bytes(gzip.compress(b"[]"))
    with pytest.raises(ReportError, match="su huella es otra"):
        gather(path)
    (tmp_path / "muestras.json.gz").unlink()
    with pytest.raises(ReportError, match="Falta el archivo de muestras"):
        gather(path)


def test_measurements_of_another_form_are_no_component_results(tmp_path: Path) -> None:
    other = tmp_path / "otra.json"
    other.write_text('{"environment": {}, "scenarios": []}', encoding="utf-8")
    assert not is_part(other)
    assert {path.parent.name for path in default_parts()} >= {"postgres", "redis"}
