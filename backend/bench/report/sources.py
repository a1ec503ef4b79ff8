"""The result files behind the documents: read, recomputed from their samples, refused where they differ."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.claims import pool, summarise
from bench.samples import (
    DERIVED,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Results,
    ResultsError,
    from_document,
)
from bench.summary import Summary, difference

FLAGS = {"full": " --full", "quick": " --quick"}


class ReportError(Exception):
    """The sentence is in Spanish and complete: it is printed as it is, and the command ends with 2."""


@dataclass(frozen=True, slots=True)
class Run:
    """One result file whose summary follows from its samples."""

    name: str
    digest: str
    results: Results
    summary: Summary
    document: Mapping[str, Any]
    """Without its blocks."""

    @property
    def _profile(self) -> Mapping[str, Any]:
        found = self.results.configuration.get("profile")
        return found if isinstance(found, dict) else {}

    @property
    def profile(self) -> str:
        return str(self._profile.get("name", ""))

    @property
    def engine(self) -> str:
        return str(self._profile.get("engine", "synthetic"))

    @property
    def command(self) -> str:
        """How to make such a run again."""
        plan, _, engine = self.profile.partition(", ")
        if engine:
            return f"python -m bench run {plan} --engine {engine}"
        return f"python benchmark_buffer_comparison.py{FLAGS.get(plan, '')}"

    @property
    def commit(self) -> str:
        """Short, or what is to be said in its place."""
        return str(self.results.environment.get("commit") or "")[:12] or "desconocido"

    @property
    def is_dirty(self) -> bool:
        return bool(self.results.environment.get("dirty"))

    @property
    def is_complete(self) -> bool:
        return self.results.complete


def together(runs: Sequence[Run]) -> Summary:
    """The rounds of all runs as one."""
    return summarise(pool([run.results for run in runs]))


def read_run(path: Path) -> Run:
    """A result with its samples. `ReportError` says in one sentence what is wrong with it."""
    document, digest = _read(path)
    _check_form(path.name, document)
    _attach_blocks(path, document)
    try:
        results = from_document(document)
    except ResultsError as error:
        raise ReportError(f"{path.name} está dañado: {error}.") from error
    summary = summarise(results)
    where = difference(summary.derived(), {name: document.get(name) for name in DERIVED})
    if where is not None:
        raise ReportError(
            f"{path.name} dice en «{where}» otra cosa que sus muestras: el resumen no es el que se calcula "
            "de ellas."
        )
    return Run(path.name, digest, results, summary, {**document, "blocks": []})


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        document = json.loads(text)
    except OSError as error:
        reason = "no existe" if isinstance(error, FileNotFoundError) else error.strerror or "está dañado"
        raise ReportError(f"No se puede leer {path.name}: {reason}.") from error
    except (ValueError, EOFError, RecursionError) as error:
        raise ReportError(f"{path.name} no es un JSON válido (¿quedó a medio escribir?).") from error
    if not isinstance(document, dict):
        raise ReportError(f"{path.name} no es un resultado de este banco de pruebas.")
    return document, hashlib.sha256(raw).hexdigest()[:12]


def _check_form(name: str, document: Mapping[str, Any]) -> None:
    if document.get("schema") != SCHEMA_NAME:
        raise ReportError(f"{name} no es un resultado de este banco de pruebas (su «schema» es otro).")
    if document.get("version") != SCHEMA_VERSION:
        raise ReportError(
            f"{name} tiene la versión de esquema {document.get('version')!r} y este programa lee la "
            f"{SCHEMA_VERSION}: hay que repetir la medición."
        )
    for key, kind in (
        ("environment", dict),
        ("configuration", dict),
        ("notes", list),
        ("summary", list),
        ("claims", list),
    ):
        if not isinstance(document.get(key), kind):
            raise ReportError(f"{name} está incompleto: le falta «{key}».")
    if not document["summary"]:
        raise ReportError(f"{name} no contiene ninguna medida que informar.")


def _attach_blocks(path: Path, document: dict[str, Any]) -> None:
    """Raw samples lie in a compressed file beside the result: it must be the one that is named."""
    raw = document.get("raw")
    if document.get("blocks"):
        return
    if not isinstance(raw, dict):
        raise ReportError(f"{path.name} no trae muestras: no se puede recalcular nada de lo que dice.")
    beside = path.with_name(Path(str(raw.get("file"))).name)
    try:
        packed = beside.read_bytes()
    except OSError as error:
        raise ReportError(f"Falta el archivo de muestras {beside.name}, que {path.name} nombra.") from error
    if hashlib.sha256(packed).hexdigest() != raw.get("sha256"):
        raise ReportError(f"{beside.name} no es el archivo de muestras de {path.name}: su huella es otra.")
    try:
        document["blocks"] = json.loads(gzip.decompress(packed))
    except (OSError, ValueError, EOFError) as error:
        raise ReportError(f"{beside.name} está dañado: no se pueden leer las muestras.") from error
