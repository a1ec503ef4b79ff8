"""Notes of a run, which the benchmark writes in English, for a reader of Spanish."""

import re

from bench.report import spanish

_SHAPES = (
    (
        r"the machine was busy with something else before (\d+)% of the blocks: .*",
        (
            "la máquina estaba ocupada en otra cosa antes del {0} % de los bloques; las cargas pueden ser "
            "otra parte de la capacidad que la que dicen: conviene repetir"
        ),
    ),
    (
        r"the machine did not become quiet during (\S+): .*",
        "la máquina no se aquietó durante «{0}»: desde ahí no se esperó ni se repitió ningún bloque",
    ),
    (
        r"(\S+?)( at [\d., ]+)?: time was up after (\d+) of (\d+) rounds",
        "«{0}»{1}: alcanzó el tiempo para {2} de {3} rondas",
    ),
    (r"stopped with Ctrl-C before the end", "se detuvo con Ctrl-C antes del final"),
    (r"stopped before the end: (.*)", "se detuvo antes del final (texto original: {0})"),
)


def told(note: str) -> str:
    """The note in Spanish; as it is, and named so, where nobody translated it."""
    for shape, text in _SHAPES:
        found = re.fullmatch(shape, note, re.DOTALL)
        if found:
            return f"Nota de la corrida: {text.format(*map(_word, found.groups()))}."
    return f"Nota de la corrida (texto original): «{note}»."


def _word(word: str | None) -> str:
    """An experiment by its name here; loads as percentages."""
    if word is None:
        return ""
    if word.startswith(" at "):
        loads = word.removeprefix(" at ").split(", ")
        return f" al {spanish.joined([spanish.percent(float(load)) for load in loads])}"
    return spanish.experiment(word)
