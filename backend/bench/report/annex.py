"""Every row as CSV, for whoever wants to check or draw something else: the documents cite `fila`."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from bench.report.study import Study

KINDS = {"better": "ayuda", "equal": "igual", "worse": "más lento", "open": "sin demostrar"}


def files(study: Study) -> dict[str, str]:
    """Content by file name."""
    return {
        "filas.csv": _rows(study),
        "corridas.csv": _runs(study),
        "afirmaciones.csv": _table([asdict(claim) for claim in study.claims]),
        "capacidad.csv": _table(
            [
                {"experimento": name, "variante": arm, **asdict(found)}
                for name, arms in study.summary.capacity.items()
                for arm, found in arms.items()
            ]
        ),
        "menos_historia.csv": _table([{**asdict(row), "share": row.share} for row in study.summary.shorter]),
    }


def _rows(study: Study) -> str:
    """All runs of the main engine together."""
    return _table(
        [
            {"fila": figure.at, "lectura": KINDS[figure.kind], **asdict(figure.row)}
            for figure in study.figures()
        ]
    )


def _runs(study: Study) -> str:
    """Each run by itself, real engines among them."""
    return _table(
        [
            {"archivo": run.name, "motor": run.engine, "commit": run.commit, **asdict(row)}
            for run in (*study.runs, *study.others)
            for row in run.summary.rows
        ]
    )


def _table(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(_cells(row.values()) for row in rows)
    return text.getvalue()


def _cells(values: Iterable[object]) -> list[object]:
    """Six figures; nothing where a number is not known."""
    return [
        ("" if not math.isfinite(value) else f"{value:.6g}") if isinstance(value, float) else value
        for value in values
    ]
