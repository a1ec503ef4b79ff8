"""What a run said of itself, in Spanish."""

import pytest

from bench.report.notes import told


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            "people at 0.5, 1: time was up after 2 of 5 rounds",
            "«personas que vuelven» al 50 % y 100 %: alcanzó el tiempo para 2 de 5 rondas",
        ),
        ("day: time was up after 1 of 8 rounds", "«el día»: alcanzó el tiempo para 1 de 8 rondas"),
        ("stopped with Ctrl-C before the end", "se detuvo con Ctrl-C antes del final"),
        (
            "the machine was busy with something else before 40% of the blocks: loads may be other",
            "la máquina estaba ocupada en otra cosa antes del 40 % de los bloques",
        ),
    ],
)
def test_a_known_note(note: str, said: str) -> None:
    assert told(note).startswith(f"Nota de la corrida: {said}")


def test_another_note_is_shown_as_it_is() -> None:
    assert told("something new") == "Nota de la corrida (texto original): «something new»."
