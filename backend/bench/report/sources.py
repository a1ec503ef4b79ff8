"""The files that documents are made from: read, checked, and known by a letter."""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report.errors import ReportError
from bench.samples import SCHEMA_NAME, SCHEMA_VERSION

READABLE = (2, SCHEMA_VERSION)
"""In version 2 an arm was one process for the whole run; `bench.report.method` says what that means."""
NUMBERS = ("ratio", "low", "high", "control_value", "treatment_value")
ROW: dict[str, type | tuple[type, ...]] = {
    "experiment": str, "level": (int, float), "measure": str, "unit": str, "control": str, "treatment": str,
    "verdict": str, "blocks": int,
}  # fmt: skip
COMMANDS = {
    "full": "python benchmark_buffer_comparison.py --full",
    "standard": "python benchmark_buffer_comparison.py",
    "quick": "python benchmark_buffer_comparison.py --quick",
    "bench": "python -m bench",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One file. `letter` and a row number name every figure that comes from it."""

    letter: str
    name: str
    digest: str
    document: Mapping[str, Any]
    command: str

    @property
    def environment(self) -> Mapping[str, Any]:
        found = self.document.get("environment")
        return found if isinstance(found, dict) else {}

    @property
    def commit(self) -> str:
        """Short, or what is to be said in its place."""
        return str(self.environment.get("commit") or "")[:12] or "desconocido"

    @property
    def has_incarnations(self) -> bool:
        """Every round had processes of its own."""
        return self.document.get("version") != READABLE[0]

    @property
    def is_dirty(self) -> bool:
        return bool(self.environment.get("dirty"))

    def at(self, path: Sequence[str | int]) -> Any:
        """The value at a path of keys and indices; None where there is nothing."""
        found: Any = self.document
        for step in path:
            if isinstance(found, dict) and isinstance(step, str):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            else:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Material:
    """Everything the documents may use. `again`: a second run of the same, on the same machine."""

    main: Source
    parts: tuple[Source, ...] = ()
    again: Source | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.main, *((self.again,) if self.again else ()), *self.parts)


def gather(results: Path, parts: Sequence[Path] = (), again: Path | None = None) -> Material:
    """Read all files. `ReportError` says in one sentence which one cannot be used, and why.

    Of `again` only the summary is read, so its samples may be left elsewhere.
    """
    letters = iter("ABCDEFGHIJKLMNOPQTUVWXYZ")
    if len(parts) > 20:
        raise ReportError("Son demasiados archivos de componentes: se admiten 20.")
    return Material(
        _results(results, "R"),
        tuple(_part(path, next(letters)) for path in parts),
        _results(again, "S", blocks=False) if again else None,
    )


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


def _results(path: Path, letter: str, *, blocks: bool = True) -> Source:
    document, digest = _read(path)
    if document.get("schema") != SCHEMA_NAME:
        raise ReportError(f"{path.name} no es un resultado de este banco de pruebas (su «schema» es otro).")
    if document.get("version") not in READABLE:
        raise ReportError(
            f"{path.name} tiene la versión de esquema {document.get('version')!r} y este programa lee "
            f"la {READABLE[0]} y la {READABLE[1]}: hay que repetir la medición."
        )
    for key, kind in (("environment", dict), ("configuration", dict), ("notes", list), ("summary", list)):
        if not isinstance(document.get(key), kind):
            raise ReportError(f"{path.name} está incompleto: le falta «{key}».")
    if not document["summary"]:
        raise ReportError(f"{path.name} no contiene ninguna medida que informar.")
    for at, row in enumerate(document["summary"]):
        _check_row(path.name, at, row)
    if blocks:
        _attach_blocks(path, document)
    return Source(letter, path.name, digest, document, _command(document))


def _attach_blocks(path: Path, document: dict[str, Any]) -> None:
    """Raw samples may lie in a compressed file beside the result: it must be the one that is named."""
    raw = document.get("raw")
    if document.get("blocks") or not isinstance(raw, dict):
        return
    beside = path.with_name(Path(str(raw.get("file"))).name)
    try:
        packed = beside.read_bytes()
        if hashlib.sha256(packed).hexdigest() != raw.get("sha256"):
            raise ReportError(
                f"{beside.name} no es el archivo de muestras de {path.name}: su huella es otra."
            )
        document["blocks"] = json.loads(gzip.decompress(packed))
    except OSError as error:
        raise ReportError(f"Falta el archivo de muestras {beside.name}, que {path.name} nombra.") from error
    except (ValueError, EOFError) as error:
        raise ReportError(f"{beside.name} está dañado: no se pueden leer las muestras.") from error


def _check_row(name: str, at: int, row: object) -> None:
    if not isinstance(row, dict):
        raise ReportError(f"{name} está dañado: la fila {at} de «summary» no es un objeto.")
    for key, kind in ROW.items():
        if not isinstance(row.get(key), kind):
            raise ReportError(f"{name} está dañado: la fila {at} de «summary» no tiene un «{key}» válido.")
    for key in NUMBERS:
        value = row.get(key)
        if value is not None and not isinstance(value, int | float):
            raise ReportError(f"{name} está dañado: «{key}» de la fila {at} no es un número.")


def _command(document: Mapping[str, Any]) -> str:
    said = document["configuration"].get("command")
    if isinstance(said, str) and said:
        return said
    profile = document["configuration"].get("profile")
    name = profile.get("name") if isinstance(profile, dict) else None
    return COMMANDS.get(str(name), f"perfil {name}" if name else "no consta")


def _part(path: Path, letter: str) -> Source:
    document, digest = _read(path)
    name = f"{path.parent.name}/{path.name}"
    if not isinstance(document.get("environment"), dict):
        raise ReportError(f"{name} no dice en qué máquina ni con qué código se midió (falta «environment»).")
    measured, rows = document.get("measured"), document.get("rows")
    if isinstance(measured, list) and all(_is_measured(row) for row in measured):
        return Source(letter, name, digest, document, str(document.get("command", "no consta")))
    if isinstance(rows, list) and all(isinstance(r, dict) and "cell" in r and "client" in r for r in rows):
        return Source(letter, name, digest, document, str(document.get("command", "no consta")))
    raise ReportError(f"{name} no es un resultado de componentes: no tiene «measured» ni «rows» válidos.")


def is_part(path: Path) -> bool:
    """Other measurements live in the same folders, in forms of their own."""
    try:
        _part(path, "")
    except ReportError:
        return False
    return True


def _is_measured(row: object) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ("experiment", "arm", "metric"))
        and isinstance(row.get("blocks"), list)
        and all(isinstance(block, list) and block for block in row["blocks"])
    )
