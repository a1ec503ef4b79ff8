"""Notes of a run, which the benchmark writes in English, for a reader of Spanish."""

import re

from bench import catalogue

_SHAPES = (
    (
        re.compile(r"(\S+): V1's capacity went from ([\d.]+) to ([\d.]+) requests a second .*"),
        (
            "{0}: la capacidad de V1 pasó de {1} a {2} peticiones por segundo durante la corrida, de "
            "modo que las cargas son otra parte de ella que la que su nombre dice"
        ),
    ),
    (
        re.compile(r"(\S+) at (\d+)%: time was up after (\d+) of (\d+) rounds"),
        "{0} al {1} %: el tiempo se acabó después de {2} de {3} rondas",
    ),
    (
        re.compile(r"the machine was busy with something else before (\d+)% of the blocks: .*"),
        (
            "la máquina estaba ocupada en otra cosa antes del {0} % de los bloques: confíe menos en las "
            "razones y repita cuando esté quieta"
        ),
    ),
    (
        re.compile(r"(\S+): V1 answered nothing, so nothing was compared"),
        "{0}: V1 no respondió nada, así que no se comparó",
    ),
    (
        re.compile(r"the machine did not become quiet during (\S+): .*"),
        (
            "la máquina no se aquietó durante {0}: desde ahí no se esperó a que lo hiciera ni se repitió "
            "ningún bloque"
        ),
    ),
    (re.compile(r"stopped with Ctrl-C before the end"), "se detuvo con Ctrl-C antes del final"),
    (
        re.compile(r"stopped before the end: (.*)", re.DOTALL),
        "se detuvo antes del final porque un servidor no volvió a arrancar (texto original: {0})",
    ),
)


def told(note: str) -> str:
    """The note in Spanish; as it is, and named so, where nobody translated it."""
    for shape, text in _SHAPES:
        found = shape.fullmatch(note)
        if found:
            words = [_word(word) for word in found.groups()]
            return f"Nota de la corrida: {text.format(*words)}."
    return f"Nota de la corrida (texto original): «{note}»."


def _word(word: str) -> str:
    return word.replace(".", ",") if re.fullmatch(r"[\d.]+", word) else catalogue.word(word, "es")
