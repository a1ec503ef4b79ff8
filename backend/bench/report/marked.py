"""The places of both READMEs and of the guides that show figures of the reference run: written, never typed.

Such a place lies between `<!-- evidence -->` and `<!-- /evidence -->`.
"""

import re
from pathlib import Path

from bench.catalogue import CAPACITY_OF, DAY, POSTGRESQL, REDIS, RUNGS, VISITS, Language, word
from bench.report import spanish
from bench.report.day import day_of
from bench.report.sources import ReportError
from bench.report.study import END, FIRST, REALISTIC, TURN, Figure, Study

PLACE = re.compile(r"(<!-- evidence -->\n).*?(<!-- /evidence -->)", re.DOTALL)
FILES: dict[str, Language] = {"README.md": "en", "README.es.md": "es", "docs/results/sentinel.md": "en"}
WORDS: dict[Language, tuple[str, ...]] = {
    "en": ("what", "against", "ratio", "95 % interval", "each run", "row"),
    "es": ("qué", "contra", "razón", "intervalo 95 %", "cada corrida", "fila"),
}
NAMES: dict[str, dict[Language, str]] = {
    VISITS: {
        "en": "people who come back, each version at 80 % of its own capacity: ",
        "es": "personas que vuelven, cada versión al 80 % de su propia capacidad: ",
    },
    RUNGS: {"en": "the same people for both: ", "es": "las mismas personas para ambas: "},
    CAPACITY_OF: {"en": "answers a second of one machine", "es": "respuestas por segundo de una máquina"},
    POSTGRESQL: {
        "en": "a turn of PostgreSQL, 60 clients, median",
        "es": "una interacción de PostgreSQL, 60 clientes, mediana",
    },
    REDIS: {
        "en": "a turn of Redis, 64 clients, median",
        "es": "una interacción de Redis, 64 clientes, mediana",
    },
    DAY: {"en": "work done over a day that changes", "es": "trabajo hecho en un día que cambia"},
}
"""Where it ends in a colon, the measure follows."""


def publish(study: Study, root: Path) -> list[str]:
    """Write the marked places; returns the files."""
    for name in FILES:
        (root / name).write_text(expected(study, root, name), encoding="utf-8")
    return list(FILES)


def disagreeing(study: Study, root: Path) -> list[str]:
    """Files whose marked place says something else than the runs."""
    return [
        name for name in FILES if (root / name).read_text(encoding="utf-8") != expected(study, root, name)
    ]


def expected(study: Study, root: Path, name: str) -> str:
    """The file with what its marked place should say."""
    text = (root / name).read_text(encoding="utf-8")
    block = table(study, FILES[name]).replace("\\", "\\\\")
    made, places = PLACE.subn(rf"\g<1>{block}\g<2>", text)
    if places != 1:
        raise ReportError(f"{name} debe tener una sola marca <!-- evidence -->, y tiene {places}.")
    return made


def table(study: Study, language: Language) -> str:
    """One row a headline, in English or Spanish, with the commit and command under it."""
    lines = ["| " + " | ".join(WORDS[language]) + " |", "|" + "---|" * len(WORDS[language])]
    lines += ["| " + " | ".join(_cells(figure, language)) + " |" for figure in headlines(study)]
    lines += ["", f"`{study.main.command}`, commit {study.main.commit[:7]}.", ""]
    return "\n".join(lines)


def headlines(study: Study) -> list[Figure]:
    """What a reader of the README is told, strongest opponents included."""
    wanted = (
        *(
            study.figure(VISITS, END, level=REALISTIC, control=name)
            for name in ("v1", "v1_best", "v2_constants")
        ),
        study.figure(VISITS, FIRST, level=REALISTIC),
        study.figure(RUNGS, END),
        study.figure(CAPACITY_OF, "answers"),
        study.figure(POSTGRESQL, TURN),
        study.figure(REDIS, TURN),
    )
    found = [figure for figure in wanted if figure is not None]
    day = day_of(study)
    if day is not None:
        found += [figure for figure in day.whole if figure.row.control in {day.best, "oracle"}]
    return found


def _cells(figure: Figure, language: Language) -> list[str]:
    row = figure.row
    name = NAMES[row.experiment][language]
    if name.endswith(": "):
        name += word(row.measure, language)
    against = spanish.arm(row.control) if language == "es" else word(row.control, "en", short=True)
    cells = [name, against, figure.ratio, figure.interval, figure.runs, str(figure.at)]
    return cells if language == "es" else [name, against, *(_english(cell) for cell in cells[2:])]


def _english(text: str) -> str:
    """`1,85 a 3,26` in English."""
    for spanish_word, english in (
        (" a ", " to "),
        (" y ", " and "),
        ("una", "one"),
        ("pocas rondas", "too few rounds"),
    ):
        text = text.replace(spanish_word, english)
    return text.replace(".", "").replace(",", ".")
